"""Every sentence of both verifiers, in Chinese and English; {names} are filled in. `verify.html` carries them as JSON."""

from __future__ import annotations

Words = dict[str, tuple[str, str]]

STEPS: Words = {
    "container": ("ZIP 容器逐字节符合第 1 版，共 {count} 个文件", "the ZIP is byte for byte a container of version 1, {count} files"),
    "manifest": ("{count} 个文件的大小、SHA-256、SM3 均与清单一致", "size, SHA-256 and SM3 of {count} files agree with the manifest"),
    "package": ("包的说明与文件齐全：{count} 条记录，每条都有两种证明", "description and files are complete: {count} entries, each with both proofs"),
    "keys_pinned": ("公钥与你提供的信任文件一致：{parties}", "the keys are those of your trust file: {parties}"),
    "keys_unpinned": ("按包内自带的公钥核对：{parties}。是谁的公钥尚未证明", "checked with the keys inside the package: {parties}. Whose they are is not proven"),
    "checkpoints": ("{count} 个检查点：日志签名成立，共签（Ed25519 与 SM2 成对）成立：{cosigners}", "{count} checkpoints: the logs' signatures hold; co-signed (Ed25519 and SM2 in pairs) by: {cosigners}"),
    "entries": ("{count} 条记录均为规范写法，属于所称的日志", "{count} entries are canonical and of the log they say"),
    "sha256": ("{count} 条 SHA-256 路径均由正文到达检查点的树根", "{count} SHA-256 paths lead from the body to the checkpoint's root"),
    "sm3": ("{count} 条 SM3 路径均由正文到达检查点的树根", "{count} SM3 paths lead from the body to the checkpoint's root"),
    "consistency": ("同一日志的检查点首尾相接，只增不改：{count} 处", "checkpoints of one log continue each other, nothing changed: {count} steps"),
    "references": ("记录之间 {count} 处互相引用，指纹均相符", "{count} references between entries name the right fingerprints"),
    "openings": ("{count} 个开示的字段均与承诺相符", "{count} opened fields fit their commitments"),
    "sm2": ("{count} 份 SM2 签名的 DER 与原文均与检查点一致", "{count} SM2 signatures as DER and their messages are those of the checkpoints"),
    "lists": ("{count} 份名单与开示的摘要一致", "{count} lists fit an opened digest"),
    "export": ("这个 ZIP 正是 {party} 日志第 {index} 条登记的导出，时间 {time}", "this ZIP is the one that entry {index} of the log of {party} recorded as exported, {time}"),
    "sealed": ("定稿：{full} 条由全部机构共签，{sealed} 条由必需的机构共签", "final: {full} entries co-signed by every institution, {sealed} by all that are required"),
    "format": ("收据格式为第 1 版", "the receipt has the format of version 1"),
    "entry": ("记录为规范写法：{log} 日志第 {index} 条，{kind}，{time}", "canonical: entry {index} of the log of {log}, {kind}, {time}"),
    "tlog_proof": ("tlog-proof 文本与收据一致", "the tlog-proof text agrees with the receipt"),
    "checkpoint": ("日志签名成立；共签成立：{cosigners}", "the log's signature holds; co-signed by: {cosigners}"),
    "job": ("{log} 的第 {index} 条是同一任务的另一条记录", "entry {index} of {log} is another entry about the same job"),
    "receipt_sealed": ("必需的共签齐全，共 {share}", "all required co-signatures are there, {share}"),
}  # fmt: skip

PROBLEMS: Words = {
    "CONTAINER": ("这不是第 1 版证据包：被改动、截断，或用别的软件重新打包。请解压后核对文件夹，或向出具机构重新索取", "this is no package of version 1: changed, cut off, or packed anew by other software. Unpack it and check the folder, or ask the exporter for it again"),
    "FILE_CRC": ("文件 {file} 的字节与 ZIP 的校验和不符：打包之后被改动", "the bytes of {file} do not fit the ZIP's checksum: changed after it was packed"),
    "MANIFEST_FORM": ("清单 manifest.json 不是第 1 版的规范写法：请出具机构重新导出", "manifest.json is not in the one spelling of version 1: the exporter must export again"),
    "FILE_MISSING": ("清单中的文件 {file} 不在包内：请向出具机构重新索取", "{file} is in the manifest and not in the package: ask the exporter for it again"),
    "FILE_EXTRA": ("包内有清单之外的文件 {file}：不可采信，请向出具机构重新索取", "{file} is in the package and not in the manifest: do not trust it, ask the exporter for it again"),
    "FILE_CHANGED": ("文件 {file} 与清单不符，已被改动：请向出具机构重新索取", "{file} is not what the manifest says, it was changed: ask the exporter for it again"),
    "FILE_UNKNOWN": ("第 1 版证据包没有文件 {file}：不可采信", "a package of version 1 has no file {file}: do not trust it"),
    "PACKAGE_FORM": ("package.json 不是第 1 版的规范写法：请出具机构重新导出", "package.json is not in the one spelling of version 1: the exporter must export again"),
    "PROOF_MISSING": ("缺少 {file}：{log} 第 {index} 条无法证明，请出具机构重新导出", "{file} is missing: entry {index} of {log} cannot be proven, the exporter must export again"),
    "PROOF_STRAY": ("{file} 没有对应的记录：请出具机构说明记录去向", "{file} has no entry: the exporter must say where the entry went"),
    "COUNT": ("package.json 所称与包内实际不符：请出具机构的合规人员说明", "package.json says something else than what is here: compliance of the exporter must explain"),
    "TRUST_FORM": ("{file} 不是信任文件，或自相矛盾：请重新取得", "{file} is no trust file, or contradicts itself: obtain it again"),
    "KEY_DIFFERS": ("{party} 的公钥或名称与你钉住的不同：不可采信，请 {party} 的合规人员核查", "the keys or names of {party} are not the pinned ones: do not trust this, compliance of {party} must look into it"),
    "KEY_FILE": ("公钥文件 {file} 与信任文件不符：请出具机构重新导出", "the key file {file} does not follow from the trust file: the exporter must export again"),
    "CHECKPOINT_FORM": ("检查点 {file} 格式不符：请 {log} 重新出具", "the checkpoint {file} is malformed: {log} must issue it again"),
    "CHECKPOINT_OF_OTHERS": ("检查点 {file} 属于别的项目、机构或大小：请出具机构说明", "the checkpoint {file} is of another project, institution or size: the exporter must explain"),
    "LOG_SIGNATURE": ("{party} 日志自身的签名缺失、重复或不成立（{file}）：请 {party} 的合规人员核查", "the own signature of the log of {party} is missing, doubled or wrong ({file}): compliance of {party} must look into it"),
    "COSIGNATURE_HALF": ("{party} 的共签缺一半、重复，或两半时间不同（{file}）：请 {party} 的合规人员核查", "the co-signature of {party} lacks a half, is doubled, or its halves differ in time ({file}): compliance of {party} must look into it"),
    "COSIGNATURE": ("{party} 的共签与检查点不符（{file}）：请 {party} 的合规人员核查", "the co-signature of {party} does not verify on the checkpoint ({file}): compliance of {party} must look into it"),
    "ENVELOPE": ("{log} 第 {index} 条不是规范的证据信封：正文被改动，请 {log} 的合规人员核查", "entry {index} of {log} is no canonical envelope: its body was changed, compliance of {log} must look into it"),
    "PROOF_FORM": ("{log} 第 {index} 条的证明 {file} 格式不符，或所指检查点不在包内：请出具机构重新导出", "the proof {file} of entry {index} of {log} is malformed or names a checkpoint that is not here: the exporter must export again"),
    "INCLUSION": ("{log} 第 {index} 条由正文重算后到不了已签的树根：正文、序号或路径被改动，请 {log} 的合规人员核查", "entry {index} of {log}, hashed anew, does not lead to the signed root: body, number or path was changed, compliance of {log} must look into it"),
    "CONSISTENCY": ("{log} 的检查点 {file} 接不上前一个：历史被改写，请 {log} 与各见证机构的合规人员核查", "the checkpoint {file} of {log} does not continue the one before: history was rewritten, compliance of {log} and of the witnesses must look into it"),
    "REFERENCE": ("{log} 第 {index} 条引用的 {party} 记录与包内的不同：请两家合规人员核对", "entry {index} of {log} refers to another entry of {party} than the one here: compliance of both must compare"),
    "OPENING_FORM": ("开示 {file} 格式不符：请出具机构重新导出", "the openings {file} are malformed: the exporter must export again"),
    "OPENING": ("{log} 第 {index} 条字段 {field} 的开示与承诺不符：值或盐被改动，请 {log} 的合规人员核查", "the opening of field {field} of entry {index} of {log} does not fit its commitment: value or salt was changed, compliance of {log} must look into it"),
    "SM2_FILE": ("{file} 与检查点中的 SM2 共签不符或缺失：请出具机构重新导出", "{file} is missing or not the SM2 co-signature of the checkpoint: the exporter must export again"),
    "LIST_NONE": ("包内没有开示任何名单摘要，名单 {file} 无从核对：请出具机构带开示重新导出", "no list digest is opened here, so {file} cannot be checked: the exporter must export with openings"),
    "LIST_OTHER": ("名单 {file} 与开示的摘要不符：有行或单元格被改动、增加、删除", "the list {file} fits no opened digest: rows or cells were changed, added or removed"),
    "LIST_FILE": ("名单 {file} 读不出，或没有（或不止一个）键列", "the list {file} cannot be read, or has no key column or more than one"),
    "EXPORT_OTHER": ("收据不是这个 ZIP 的导出登记：ZIP 或收据不是出具时的那一份，请向 {party} 索取", "the receipt is not about this ZIP: one of them is not what was issued, ask {party}"),
    "EXPORT_RECEIPT": ("导出收据本身不成立或未定稿：请向出具机构索取", "the receipt of the export does not hold or is not final: ask the exporter for it"),
    "EXPORT_FOLDER": ("核对导出收据需要原来的 ZIP，而不是解压的文件夹", "the receipt of the export needs the ZIP itself, not the unpacked folder"),
    "NOT_FINAL": ("{log} 第 {index} 条未定稿，缺少共签：{party}。不可据此采信，请其运维恢复共签后重新导出", "entry {index} of {log} is not final, co-signatures missing: {party}. Do not rely on it; their operators restore co-signing, then export again"),
    "RECEIPT_FORM": ("这不是第 1 版收据：请向出具机构重新索取", "this is not a receipt of version 1: ask the institution that issued it for it again"),
    "RECEIPT": ("收据各部分互相不符：请出具机构的合规人员核查", "parts of the receipt contradict each other: compliance of its institution must look into it"),
}  # fmt: skip

UNCHECKED: Words = {
    "keys": ("公钥是谁的：没有提供钉住的信任文件。请经另一途径（面交、公告、监管系统）取得信任文件再核一次", "whose the keys are: no trust file was given. Obtain one by another way (in person, published, from the supervisor) and check again"),
    "time": ("时间是否准确：记录与共签的时间由各机构自己的时钟给出，只是声明", "whether times are right: entries and co-signatures carry each institution's own clock, a claim"),
    "truth": ("记录所述是否真实、是否另有未选入的记录：共签只说明“此后没有改过”", "whether what entries say is true, and whether others were left out: a co-signature only says that nothing was changed since"),
    "claims": ("说明文件、报告、包内的核对程序，以及何人何时为何导出：没有提供导出收据，只核对了清单", "README, reports, the verifiers inside, and who exported when and why: no receipt of the export was given, only the manifest was compared"),
    "verifier": ("包内附带的核对程序由出具方制作：请与发布版比对其 SM3，或改用 Go、OpenSSL", "a verifier that came inside a package was made by its exporter: compare its SM3 with the release, or use Go and OpenSSL"),
    "foreign": ("有 {count} 行签名出自未知密钥，未计入", "{count} signature lines are by unknown keys and count for nothing"),
}  # fmt: skip

VERDICTS: Words = {
    "OK": ("成立：全部 {steps} 项核对通过，{parties} 家机构的公钥已钉住", "OK: all {steps} checks hold under the pinned keys of {parties} institutions"),
    "KEYS_NOT_PINNED": ("未钉住公钥：全部 {steps} 项核对通过，但公钥取自包内。请用信任文件再核一次", "keys not pinned: all {steps} checks hold, but under keys from the package itself. Check again with a trust file"),
    "NOT_FINAL": ("未定稿 NOT_FINAL：内容成立，但 {count} 条记录缺少必需的共签，不可采信", "NOT_FINAL: everything holds, but {count} entries lack required co-signatures; do not rely on them"),
    "FAILED": ("不成立（{step}）：{zh}", "FAILED at {step}: {en}"),
}  # fmt: skip
