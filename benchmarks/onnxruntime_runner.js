// Runs an ONNX file on one input and prints, as JSON, the seconds of each run. Called by compare_onnxruntime.
//
//   node onnxruntime_runner.js MODULE MODEL.onnx X.npy RUNS THREADS ARENA [Y.raw]
//
// MODULE is the folder of the package onnxruntime-node; ARENA is on or off: whether the runtime keeps freed memory for
// itself. Y.raw receives the output's float32 values.
'use strict';
const fs = require('fs');

function readNpy(path) {
  const bytes = fs.readFileSync(path);
  if (bytes.toString('latin1', 0, 6) !== '\x93NUMPY' || bytes[6] !== 1) throw new Error(`${path}: expected a .npy of version 1`);
  const headerLength = bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, 10 + headerLength);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((part) => part.trim()).map(Number);
  if (!header.includes("'descr': '<f4'") || !header.includes("'fortran_order': False")) {
    throw new Error(`${path}: expected float32 in C order, found ${header.trim()}`);
  }
  const count = shape.reduce((product, size) => product * size, 1);
  // Into a buffer of its own: the header's length need not leave the values on a multiple of four bytes.
  const values = new Float32Array(count);
  bytes.copy(Buffer.from(values.buffer), 0, 10 + headerLength);
  return {shape, values};
}

async function main() {
  const [modulePath, modelPath, inputPath, runs, threads, arena, outputPath] = process.argv.slice(2);
  const ort = require(modulePath);
  const session = await ort.InferenceSession.create(modelPath, {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    intraOpNumThreads: Number(threads),
    interOpNumThreads: 1,
    enableCpuMemArena: arena === 'on',
    enableMemPattern: arena === 'on',
  });
  const {shape, values} = readNpy(inputPath);
  const x = new ort.Tensor('float32', values, [1, ...shape]);
  const outputShape = session.outputMetadata[0].shape;
  const y = new ort.Tensor(
      'float32', new Float32Array(outputShape.reduce((product, size) => product * size, 1)), outputShape);
  const seconds = [];
  for (let run = -1; run < Number(runs); ++run) {  // the first run, which gets memory, is not measured
    const start = process.hrtime.bigint();
    await session.run({x}, {y});
    if (run >= 0) seconds.push(Number(process.hrtime.bigint() - start) * 1e-9);
  }
  if (outputPath) fs.writeFileSync(outputPath, Buffer.from(y.data.buffer, y.data.byteOffset, y.data.byteLength));
  console.log(JSON.stringify({seconds, version: require(modulePath + '/package.json').version}));
}

main().catch((error) => {
  console.error(`onnxruntime_runner: error: ${error.message}`);
  process.exit(1);
});
