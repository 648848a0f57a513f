// Serves a folder on this computer alone, with the headers that isolate the page, so that its threads may share memory:
//   node web/tools/serve.mjs FOLDER [PORT] [--no-isolation]
// Any other web server does as well; without the headers the page runs on one thread.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.mjs': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.wasm': 'application/wasm',
                '.json': 'application/json', '.svg': 'image/svg+xml', '.txt': 'text/plain; charset=utf-8', '.md': 'text/plain; charset=utf-8' };
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Resource-Policy': 'same-origin' };

const words = process.argv.slice(2);
const isolation = !words.includes('--no-isolation');
const [folder, port = '8080'] = words.filter((word) => !word.startsWith('--'));
if (!folder || !/^\d+$/.test(port) || Number(port) > 65535) {
  console.error(`serve: error: expected a folder and a port, found '${words.join(' ')}'`);
  process.exit(2);
}
const root = path.resolve(folder);

const server = http.createServer(async (request, response) => {
  const headers = { ...(isolation ? ISOLATION : {}), 'Cache-Control': 'no-cache', 'X-Content-Type-Options': 'nosniff' };
  const refuse = (status) => { response.writeHead(status, headers); response.end(); };
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405);
  let file;
  try {
    file = path.join(root, path.normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname)));
    if (file !== root && !file.startsWith(root + path.sep)) return refuse(404);
    if ((await stat(file)).isDirectory()) file = path.join(file, 'index.html');
    const { size } = await stat(file);
    response.writeHead(200, { ...headers, 'Content-Type': TYPES[path.extname(file)] ?? 'application/octet-stream', 'Content-Length': size });
  } catch {
    return refuse(404);
  }
  if (request.method === 'HEAD') return response.end();
  createReadStream(file).on('error', () => response.destroy()).pipe(response);
});
server.on('error', (problem) => {
  console.error(`serve: error: port ${port}: ${problem.message}`);
  process.exit(1);
});
// This computer alone: the scans are nobody else's.
server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
