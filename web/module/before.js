// In front of what emscripten writes, inside its function. How helpers are started is the package's business: as modules
// in a browser, as worker threads in Node.js (web/package/worker.js).
var Worker = Module['e2enetWorker'];
