// Compiles EvidenceAnchor.sol with the npm package solc (found through NODE_PATH) into EvidenceAnchor.json.
//   NODE_PATH=.../node_modules node build.cjs            writes the file anew
//   NODE_PATH=.../node_modules node build.cjs --print    prints it, for comparison with the committed one
'use strict';
const fs = require('fs');
const path = require('path');
const solc = require('solc');

const file = 'EvidenceAnchor.sol';
const source = fs.readFileSync(path.join(__dirname, file), 'utf8');
// No metadata behind the code: the bytes then depend on the source text, these settings and the compiler alone.
const settings = {
  evmVersion: 'london',
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false, bytecodeHash: 'none' },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object', 'evm.methodIdentifiers'] } },
};
const input = { language: 'Solidity', sources: { [file]: { content: source } }, settings };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const problem of output.errors || []) console.error(problem.formattedMessage);
if (!output.contracts || (output.errors || []).length) process.exit(1);
const made = output.contracts[file].EvidenceAnchor;
delete settings.outputSelection;
const text = JSON.stringify(
  {
    compiler: 'solc ' + solc.version(),
    settings,
    source: file,
    selectors: made.evm.methodIdentifiers,
    abi: made.abi,
    bytecode: '0x' + made.evm.bytecode.object,
    deployedBytecode: '0x' + made.evm.deployedBytecode.object,
  },
  null,
  1,
) + '\n';
if (process.argv.includes('--print')) process.stdout.write(text);
else fs.writeFileSync(path.join(__dirname, 'EvidenceAnchor.json'), text);
