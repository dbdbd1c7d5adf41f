// Numbers, times, digests and masks as the staff read them. formats.py follows the same rules; a browser test compares the two.
// A value that is "unknown" (the word) prints as unknowable, null or undefined as a dash: neither ever looks like a number.
const UNKNOWN = "unknown";
const SHANGHAI_MS = 8 * 3600 * 1000; // Asia/Shanghai has kept UTC+8 without summer time since 1991.

function absent(value, lang) {
  if (value === null || value === undefined) return "—";
  if (value === UNKNOWN) return lang === "zh" ? "不可知" : "unknown";
  return typeof value === "number" && !Number.isFinite(value) ? "—" : null;
}
function fixed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  const [whole, part] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const sign = value < 0 && Number(text) !== 0 ? "−" : "";
  return sign + grouped + (part === undefined ? "" : "." + part);
}
function pad2(number) { return String(number).padStart(2, "0"); }
function stamp(ms) {
  const at = new Date(ms);
  return [`${at.getUTCFullYear()}-${pad2(at.getUTCMonth() + 1)}-${pad2(at.getUTCDate())}`,
    `${pad2(at.getUTCHours())}:${pad2(at.getUTCMinutes())}:${pad2(at.getUTCSeconds())}`];
}
function scaled(value, step, units) {
  let k = 0;
  while (k < units.length - 1 && Number((value / step ** k).toFixed(1)) >= step) k += 1;
  const share = value / step ** k;
  const text = share >= 100 || k === 0 ? fixed(share, 0) : fixed(share, 1).replace(/\.0$/, "");
  return `${text} ${units[k]}`;
}

const formats = {
  count: (value, lang) => absent(value, lang) ?? fixed(value, 0),
  change: (value, lang) => absent(value, lang) ?? (value > 0 ? "+" : "") + fixed(value, 0),
  share: (value, digits, lang) => absent(value, lang) ?? `${fixed(value * 100, digits)} %`,
  quantity: (value, unit, digits, lang) => absent(value, lang) ?? `${fixed(value, digits)} ${unit}`,
  points: (value, lang) => absent(value, lang) ?? `${fixed(value * 100, 1)} ${lang === "zh" ? "个百分点" : "percentage points"}`,
  money: (fen, lang) => absent(fen, lang) ?? `${fen < 0 ? "−" : ""}¥${fixed(Math.abs(fen) / 100, 2)}`,
  cardSeconds: (value, lang) => absent(value, lang) ?? `${fixed(value, 0)} ${lang === "zh" ? "卡·秒" : "card-s"}`,
  cardMinutes: (value, lang) => absent(value, lang) ?? `${fixed(value, 1)} ${lang === "zh" ? "卡·分" : "card-min"}`,
  time: (ms, lang) => absent(ms, lang) ?? stamp(ms + SHANGHAI_MS).join(" "),
  clock: (ms, lang) => absent(ms, lang) ?? stamp(ms + SHANGHAI_MS)[1],
  date: (ms, lang) => absent(ms, lang) ?? stamp(ms + SHANGHAI_MS)[0],
  utc: (ms, lang) => absent(ms, lang) ?? stamp(ms).join(" ") + " UTC",
  elapsed(seconds, lang) {
    const word = absent(seconds, lang);
    if (word) return word;
    const whole = Math.max(0, Math.floor(seconds));
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return h ? `${h}:${pad2(m)}:${pad2(s)}` : `${m}:${pad2(s)}`;
  },
  // Rounded up, so that nobody is told "now" too early: 1 s, from 1 min 10 s, from 10 min 1 min, from 1 day 1 day.
  duration(seconds, lang) {
    const word = absent(seconds, lang);
    if (word) return word;
    let s = Math.max(0, Math.ceil(seconds));
    if (s >= 60) s = Math.ceil(s / 10) * 10;
    if (s >= 600) s = Math.ceil(s / 60) * 60;
    if (s > 86400 - 60) s = Math.ceil(s / 86400) * 86400;
    const zh = lang === "zh";
    if (s >= 86400) return zh ? `${s / 86400} 天` : s === 86400 ? "1 day" : `${fixed(s / 86400, 0)} days`;
    const parts = [[Math.floor(s / 3600), zh ? "小时" : "h"], [Math.floor(s / 60) % 60, zh ? "分" : "min"], [s % 60, zh ? "秒" : "s"]];
    const shown = parts.filter(([n]) => n > 0);
    return (shown.length ? shown : [parts[2]]).map(([n, unit]) => `${n} ${unit}`).join(" ");
  },
  estimate: (seconds, lang) => absent(seconds, lang) ?? `${lang === "zh" ? "约" : "about"} ${formats.duration(seconds, lang)}`,
  left(seconds, lang) {
    const word = absent(seconds, lang);
    if (word) return word;
    const length = formats.duration(seconds, lang);
    return lang === "zh" ? `剩 ${length}` : `${length} left`;
  },
  size: (bytes, lang) => absent(bytes, lang) ?? scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]),
  bits: (bits, lang) => absent(bits, lang) ?? scaled(bits, 1000, ["bit", "kbit", "Mbit", "Gbit"]),
  digest(algorithm, hex, tail = 2) {
    if (!hex) return "—";
    const text = String(hex);
    const short = text.length <= 8 + tail ? text : `${text.slice(0, 8)}…${text.slice(-tail)}`;
    return algorithm ? `${algorithm} ${short}` : short;
  },
  shortId: (id) => { const parts = String(id).split("-"); return parts.length > 1 ? `…${parts[parts.length - 1]}` : String(id); },
  maskPhone: (digits) => (/^\d{11}$/.test(digits) ? `${digits.slice(0, 3)}****${digits.slice(-4)}` : "****"),
  maskIdNo: (text) => (/^\d{17}[\dX]$/.test(text) ? `${text.slice(0, 4)}${"*".repeat(10)}${text.slice(-4)}` : "****"),
  maskName: (name) => (name ? `${[...name][0]}*` : "*"),
  maskCard: (digits) => (/^\d{12,19}$/.test(digits) ? `****${digits.slice(-4)}` : "****"),
};
