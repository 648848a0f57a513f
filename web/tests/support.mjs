// What the tests of the package and of the page share: images, the native program to compare with, NIfTI files.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const packageFolder = path.join(root, 'build/web/package');
const shared = path.resolve(root, process.env.E2ENET_SHARED ?? '../shared');
const program = process.env.E2ENET_PROGRAM ?? path.join(root, 'build/ci/bin/e2enet');

export const scratch = mkdtempSync(path.join(os.tmpdir(), 'e2enet-web-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

export const modelFile = (name) => path.join(root, 'models', `${name}.safetensors`);
export const modelBytes = (name) => readFileSync(modelFile(name));

export const haveShared = existsSync(path.join(shared, 'data/hippocampus/test/images'));
export const needShared = `needs real scans: expected ${path.join(shared, 'data')} (E2ENET_SHARED), found none`;

export function sharedImages(kind, count) {
  const folder = path.join(shared, 'data', kind, 'test/images');
  return readdirSync(folder).filter((name) => /\.nii(\.gz)?$/.test(name)).sort().slice(0, count).map((name) => path.join(folder, name));
}

// The head that Debian's package mricron-data has: the path is the package's business.
export function colin27() {
  const files = execFileSync('dpkg-query', ['--listfiles', 'mricron-data'], { encoding: 'utf8' }).split('\n');
  return files.find((name) => name.endsWith('/ch2.nii.gz'));
}

// A line for scripts/test.sh, which counts them.
export function noteSkipped(name, why) {
  if (process.env.E2ENET_SKIPPED_FILE) appendFileSync(process.env.E2ENET_SKIPPED_FILE, `web: ${name}: ${why}\n`);
}

export function skipOr(condition, name, why) {
  if (condition) return false;
  noteSkipped(name, why);
  return why;
}

// What takes longest is left out of the ordinary test command (scripts/test_web.sh --quick).
export const quick = process.env.E2ENET_WEB_QUICK === '1';
export const tooLong = 'left out by --quick: run scripts/test_web.sh';

export function parseNifti(bytes) {
  let data = Buffer.from(bytes);
  if (data[0] === 0x1f && data[1] === 0x8b) data = zlib.gunzipSync(data);
  const shape = [42, 44, 46].map((at) => data.readInt16LE(at));
  const type = data.readInt16LE(70);
  const offset = data.readFloatLE(108);
  const count = shape[0] * shape[1] * shape[2];
  const voxels = data.buffer.slice(data.byteOffset + offset);
  const values = type === 2 ? new Uint8Array(voxels, 0, count) : type === 4 ? new Int16Array(voxels, 0, count) : type === 512 ? new Uint16Array(voxels, 0, count)
    : type === 16 ? new Float32Array(voxels, 0, count) : type === 64 ? new Float64Array(voxels, 0, count) : null;
  if (!values) throw new Error(`expected a NIfTI type that this test knows, found ${type}`);
  return { shape, type, intent: data.readInt16LE(68), values, bytes: data,
           affine: [280, 296, 312].map((at) => [0, 4, 8, 12].map((more) => data.readFloatLE(at + more))).concat([[0, 0, 0, 1]]) };
}

export const instructionSetWide = 'SSE4';

// Labels and statistics of the native program with vectors of WebAssembly's width, which has no fused multiply-add either.
export function segmentNatively(model, image, more = []) {
  const out = path.join(scratch, `native-${path.basename(model)}-${path.basename(image)}-${more.join('')}.nii.gz`.replaceAll(/[ :,]/g, '_'));
  const statistics = `${out}.json`;
  if (!existsSync(out)) {
    execFileSync(program, ['segment', '-m', modelFile(model), '-i', image, '-o', out, '--statistics', statistics, '--quiet', ...more],
                 { env: { ...process.env, E2ENET_TARGET: instructionSetWide }, stdio: ['ignore', 'ignore', 'pipe'] });
  }
  return { bytes: readFileSync(out), statistics: JSON.parse(readFileSync(statistics, 'utf8')), ...parseNifti(readFileSync(out)) };
}

// How many voxels differ.
export function differences(a, b) {
  if (a.length !== b.length) throw new Error(`expected as many voxels, found ${a.length} and ${b.length}`);
  let count = 0;
  for (let at = 0; at < a.length; ++at) count += a[at] !== b[at];
  return count;
}

// A NIfTI file, for tests that need a certain one.
export function makeNifti({ shape, type = 16, bits = 32, data, spacing = [1, 1, 1] }) {
  const header = Buffer.alloc(352);
  header.writeInt32LE(348, 0);
  [3, ...shape, 1, 1, 1, 1].forEach((value, at) => header.writeInt16LE(value, 40 + 2 * at));
  header.writeInt16LE(type, 70);
  header.writeInt16LE(bits, 72);
  [1, ...spacing].forEach((value, at) => header.writeFloatLE(value, 76 + 4 * at));
  header.writeFloatLE(352, 108);
  header.writeFloatLE(1, 112);
  header.writeUInt8(2, 123);
  header.writeInt16LE(1, 254);
  [[280, 0], [296, 1], [312, 2]].forEach(([at, axis]) => header.writeFloatLE(spacing[axis], at + 4 * axis));
  header.write('n+1\0', 344, 'latin1');
  return Buffer.concat([header, Buffer.from(data ?? [])]);
}
