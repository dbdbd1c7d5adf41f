// Inclusion proofs computed in the reader's browser (RFC 9162, 2.1.3): SHA-256 of the browser itself, nothing of ours.
const hex = (bytes) => [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, "0")).join("");
function unhex(text) {
  if (typeof text !== "string" || !/^([0-9a-f]{2})*$/.test(text)) throw new Error("hex");
  return Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
}
function unbase64(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }
async function sha256(...parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", all));
}
// Positions above 2^53 do not occur; division keeps what 32-bit shifts would lose.
async function walk(leaf, index, size, path) {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) throw new Error("index");
  let [fn, sn, now] = [index, size - 1, leaf];
  const steps = [];
  for (const sibling of path) {
    if (sn === 0) throw new Error("long");
    const left = fn % 2 === 1 || fn === sn;
    now = left ? await sha256(Uint8Array.of(1), sibling, now) : await sha256(Uint8Array.of(1), now, sibling);
    steps.push({ side: left ? "left" : "right", sibling: hex(sibling), hash: hex(now) });
    if (left) while (fn % 2 === 0 && fn !== 0) { fn = Math.floor(fn / 2); sn = Math.floor(sn / 2); }
    fn = Math.floor(fn / 2); sn = Math.floor(sn / 2);
  }
  if (sn !== 0) throw new Error("short");
  return { root: hex(now), steps };
}
async function recompute(proof) {
  if (!globalThis.crypto?.subtle) return { problem: "no_crypto" };
  try {
    const computed = hex(await sha256(Uint8Array.of(0), unbase64(proof.body_base64)));
    const leaf = proof.leaf_hash || computed;
    const path = proof.path.map(unhex);
    if (path.some((p) => p.length !== 32) || unhex(leaf).length !== 32 || unhex(proof.root).length !== 32) return { problem: "malformed" };
    let route;
    try { route = await walk(unhex(leaf), proof.index, proof.size, path); } catch (error) { route = { root: null, steps: [] }; }
    return { computed, leaf, route, bodyHolds: computed === leaf, pathHolds: route.root === proof.root };
  } catch (error) { return { problem: "malformed" }; }
}
