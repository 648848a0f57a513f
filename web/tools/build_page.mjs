// Makes the folder of static files: node web/tools/build_page.mjs PACKAGE MODELS NODE_MODULES OUT
import { cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

const [packageFolder, modelsFolder, nodeModules, out] = process.argv.slice(2).map((name) => path.resolve(name));
const app = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../app');
const { build } = await import(pathToFileURL(createRequire(path.join(nodeModules, 'x.js')).resolve('esbuild')).href);

// The models that the page offers: its demonstration models. `field_mm`: the longest side of a scan that one is for. Of two for
// one kind of scan the more accurate stands first.
const MODELS = [
  { id: 'hippocampus', file: 'hippocampus_density20.safetensors', title: 'Hippocampus', field_mm: [0, 110],
    text: 'Anterior and posterior, in a box around one hippocampus cut from a T1 MRI.' },
  { id: 'brain', file: 'brain_density20.safetensors', title: 'Whole head', field_mm: [110, 400],
    text: '29 structures of the brain in a T1 MRI of a whole head.' },
  { id: 'brain_small', file: 'brain_small_density20.safetensors', title: 'Whole head, quick', field_mm: [110, 400],
    text: 'The same structures with a quarter of the arithmetic, less accurately: mean Dice 0.82 where the other has 0.89.' },
];

await rm(out, { recursive: true, force: true });
await mkdir(path.join(out, 'models'), { recursive: true });

// NiiVue can read zarr archives, by three decoders that are larger than all the rest. This page opens no such archive.
const withoutZarr = {
  name: 'without zarr',
  setup(builder) {
    builder.onResolve({ filter: /^(zarrita|numcodecs)(\/.*)?$/ }, ({ path: name }) => ({ path: name, namespace: 'without' }));
    builder.onLoad({ filter: /.*/, namespace: 'without' }, () => ({ contents: 'module.exports = {};', loader: 'js' }));
  },
};

await build({
  entryPoints: ['app.js', 'viewer-webgl.js', 'viewer-canvas.js'].map((name) => path.join(app, name)),
  bundle: true, minify: true, format: 'esm', target: 'es2022', outdir: out, nodePaths: [nodeModules], plugins: [withoutZarr],
  external: ['./e2enet/index.js', './viewer-webgl.js', './viewer-canvas.js'], logLevel: 'warning', legalComments: 'linked',
});
for (const name of ['index.html', 'app.css', 'file.js', 'icon.svg', 'isolation.js', 'NOTICE.txt']) await cp(path.join(app, name), path.join(out, name));

await mkdir(path.join(out, 'e2enet'));
const { files } = JSON.parse(await readFile(path.join(packageFolder, 'package.json'), 'utf8'));
for (const name of files.filter((one) => /^LICENSE|^NOTICE/.test(one))) await cp(path.join(packageFolder, name), path.join(out, 'e2enet', name));
await build({
  entryPoints: files.filter((one) => one.endsWith('.js')).map((name) => path.join(packageFolder, name)), bundle: false, minify: true, format: 'esm', target: 'es2022',
  outdir: path.join(out, 'e2enet'), logLevel: 'warning',
});
// Gzipped under their own names, which worker.js knows by their content: servers need not compress them.
for (const name of files.filter((one) => one.endsWith('.wasm'))) {
  await writeFile(path.join(out, 'e2enet', name), gzipSync(await readFile(path.join(packageFolder, name)), { level: 9 }));
}

const offered = [];
for (const model of MODELS) {
  await cp(path.join(modelsFolder, model.file), path.join(out, 'models', model.file));
  offered.push({ ...model, file: `models/${model.file}`, bytes: (await stat(path.join(modelsFolder, model.file))).size });
}
for (const name of ['README.md', 'LABELS_LICENSE.txt']) await cp(path.join(modelsFolder, name), path.join(out, 'models', name));
await writeFile(path.join(out, 'models.json'), `${JSON.stringify(offered, null, 1)}\n`);
