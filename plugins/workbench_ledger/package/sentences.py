"""What reports and README say, in Chinese and English. {names} are filled in."""

from __future__ import annotations

SENTENCES: dict[str, tuple[str, str]] = {
    "title": ("证据包报告", "Evidence report"),
    "final": ("已定稿：{total} 条记录均由必需的机构共签", "Final: all {total} entries are co-signed by every institution required"),
    "final_why": ("{total} 条中有 {full} 条由全部机构共签。共签表示“此后没有改过，且各家都持有副本”，不表示内容一定为真。", "{full} of {total} are co-signed by every institution. A co-signature says that nothing was changed since and that the signer holds a copy; it does not say that an entry is true."),
    "not_final": ("未定稿 NOT_FINAL：{total} 条记录中有 {count} 条缺少必需的共签", "NOT_FINAL: {count} of {total} entries lack a required co-signature"),
    "not_final_why": ("不可据此采信。缺少共签的机构恢复后，请重新导出。", "Do not rely on it. Export again when the missing institutions have co-signed."),
    "synthetic": ("合成数据，无真人", "Synthetic data, nobody in it is real"),
    "synthetic_why": ("这份包出自 {workspace} 工作区。", "This package comes from a {workspace} workspace."),
    "by_job": ("求交任务 {value} 的记录", "the entries of the intersection {value}"),
    "by_campaign": ("活动 {value} 的全部任务的记录", "the entries of all jobs of the campaign {value}"),
    "by_period": ("{start} 至 {end}（北京时间，含首尾两日）的记录", "the entries from {start} to {end} (Asia/Shanghai, both days included)"),
    "by_customer": ("一位客户的记录，客户代号 {value}", "the entries about one customer, token {value}"),
    "identifier": ("；该客户的标识：{identifier}", "; the customer's identifier: {identifier}"),
    "about": ("选取", "Selection"),
    "span": ("记录的时间", "Time of the entries"),
    "exporter": ("出具机构", "Exported by"),
    "made": ("出具", "Made"),
    "made_by": ("{time}（北京时间；UTC {utc}），经办人代号 {actor}", "{time} (Asia/Shanghai; UTC {utc}) by the person with token {actor}"),
    "entries": ("记录", "Entries"),
    "entries_of": ("{total} 条：{logs}", "{total}: {logs}"),
    "opened": ("开示", "Opened"),
    "opened_of": ("开示 {opened} 个字段，按规定扣下 {withheld} 个；其余只有加盐承诺，他人无从得知", "{opened} fields opened, {withheld} kept back by rule; of all others there is a salted commitment only, which tells nothing"),
    "uncovered": ("尚无检查点、未收入的记录", "Entries left out because no head covers them yet"),
    "story": ("发生了什么", "What happened"),
    "story_how": ("按时间先后。时间由各机构自己的时钟给出。带 * 的是出具机构开示、本来不共享的字段。", "In the order of time, by each institution's own clock. Fields with * are not shared and were opened by the exporter."),
    "messages": ("{count} 条协议消息，双方各记一条", "{count} protocol messages, recorded by either side"),
    "both_sides": ("参与双方", "both sides"),
    "closed": ("另有 {count} 个字段仅承诺", "{count} more fields are commitments only"),
    "more_rows": ("另有 {count} 行未列出，见 entries/ 目录。", "{count} more rows are not listed; see the folder entries/."),
    "one_sided": ("{count} 条消息只有一方有记录", "{count} messages were recorded by one side only"),
    "one_sided_why": ("{named}。请两家合规人员核对。", "{named}. Compliance of both institutions must compare."),
    "sealed": ("已封存 {share}", "sealed {share}"),
    "pending": ("待封存 {share}", "pending {share}"),
    "witnesses": ("谁为此作证", "Who vouches for it"),
    "witnesses_how": ("每行是一家机构对一本日志的一次共签（Ed25519 与 SM2 各一）。", "Each row is one institution's co-signature (Ed25519 and SM2) of one log."),
    "limits": ("它证明不了什么", "What it does not prove"),
    "check": ("如何自行核对", "How to check it yourself"),
    "column_time": ("时间", "Time"),
    "column_who": ("机构", "Institution"),
    "column_place": ("序号", "No."),
    "column_what": ("事项", "What"),
    "column_detail": ("内容", "Details"),
    "column_state": ("状态", "State"),
    "column_log": ("日志", "Log"),
    "column_size": ("条数", "Entries"),
    "column_signer": ("共签机构", "Co-signed by"),
    "column_signed": ("共签时间", "At"),
    "column_root": ("SM3 树根", "SM3 root"),
}  # fmt: skip

LIMITS: tuple[tuple[str, ...], tuple[str, ...]] = (
    (
        "记录所述是否真实：共签只说明此后没有改过。",
        "时间是否准确：来自各机构自己的时钟，只是声明。",
        "是否还有别的记录：选取由出具机构决定。可向另一家机构索取同一任务的包，逐条比对。",
        "公钥是谁的：keys/ 中的公钥必须经另一途径（面交、公告、监管系统）比对。",
        "本报告与说明文件只是解释；有证明力的是 entries/、proofs/、checkpoints/ 中的内容。",
    ),
    (
        "That an entry is true: a co-signature says only that nothing was changed since.",
        "That times are right: they come from each institution's own clock and are claims.",
        "That nothing else exists: the exporter chose the entries. Ask a second institution for its package of the same job and compare.",
        "Whose the keys are: compare those under keys/ by another way (in person, published, from the supervisor).",
        "This report and the README are explanations; what proves lies under entries/, proofs/ and checkpoints/.",
    ),
)

CHECK: tuple[tuple[str, ...], tuple[str, ...]] = (
    (
        "断网即可：用浏览器打开 verify.html，把 ZIP 拖进去，再选入信任文件。",
        "或在命令行运行：python3 verify.py 证据包.zip --trust 信任文件.json（只需 Python 3.9 以上）。",
        "不信任随包附带的程序：用 Go 与 OpenSSL，命令见 README.txt。",
    ),
    (
        "Without network: open verify.html in a browser, drop the ZIP on it, then choose the trust file.",
        "Or in a terminal: python3 verify.py PACKAGE.zip --trust TRUST.json (Python 3.9 or newer is enough).",
        "If you do not trust programs that came with it: use Go and OpenSSL, commands in README.txt.",
    ),
)
