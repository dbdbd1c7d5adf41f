// Runs the engine of verify.html under Node: reads one JSON object from standard input, prints the result as JSON.
// {"engine": file, "cases": [{"data": hex or "", "path": file or "", "trust": hex, "lists": [{name, data}], "receipt": hex, "form": hex, "now": ms, "mldsa": [text]}]}
"use strict";
const fs = require("fs");
const vm = require("vm");

const asked = JSON.parse(fs.readFileSync(0, "utf8"));
const bytes = (hex) => (typeof hex === "string" ? new Uint8Array(Buffer.from(hex, "hex")) : null);
vm.runInThisContext(fs.readFileSync(asked.engine, "utf8") + "\n;globalThis.ENGINE = { verifyEvidence, verifySm2, verifyEd25519, sm3, sha256, sha512, shake128, shake256, verifyMldsa44, toHex, derOf, parseCsv, canonical, parseCanonical };");
const { verifyEvidence } = globalThis.ENGINE;

// Most cases of one run share most signatures: each is computed once.
for (const name of ["verifySm2", "verifyEd25519", "verifyMldsa44", "isOnSm2Curve"]) {
  const plain = globalThis[name], known = new Map();
  globalThis[name] = (...parts) => {
    const key = parts.map((part) => Buffer.from(part).toString("hex")).join("/");
    if (!known.has(key)) known.set(key, plain(...parts));
    return known.get(key);
  };
}

const results = asked.cases.map((one) => {
  if (one.call) {
    const answer = globalThis.ENGINE[one.call](...one.args.map((hex) => bytes(hex)), ...(one.size ? [one.size] : []));
    return answer instanceof Uint8Array ? Buffer.from(answer).toString("hex") : answer;
  }
  const data = one.path ? new Uint8Array(fs.readFileSync(one.path)) : bytes(one.data);
  const lists = (one.lists ?? []).map(({ name, data: hex }) => ({ name, data: bytes(hex) }));
  try {
    return verifyEvidence({ data, trust: bytes(one.trust), lists, receipt: bytes(one.receipt), form: bytes(one.form), now: one.now ?? null, mldsa: one.mldsa ?? [] }).result;
  } catch (error) {
    return { error: error.code ?? String(error.stack) };
  }
});
process.stdout.write(JSON.stringify(results));
