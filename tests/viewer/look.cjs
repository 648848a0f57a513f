// Opens a study of an Orthanc in the OHIF viewer, in headless Chromium, loads a segmentation over its series, and takes a
// picture, or says which labels the viewer has on which slices.
//
//   node look.cjs OPTIONS.json
//
// Options: modules (folder of node_modules with playwright-core), viewer (OHIF's built site), chromium (program), orthanc
// (URL of its HTTP port), study, segmentation (series UID); and, as wanted, labels (file to write), picture (file to
// write), slice (of the series in the viewer, from 0), size, seconds (that anything may take).
'use strict';
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');

const options = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { chromium } = require(path.join(options.modules, 'playwright-core'));

// What OHIF is told: one DICOMweb server, on this very address; segmentations are loaded without a question.
const configuration = `window.config = {
  routerBasename: null, extensions: [], modes: [], showStudyList: true, maxNumberOfWebWorkers: 2,
  showLoadingIndicator: true, showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  strictZSpacingForVolumeViewport: true, disableConfirmationPrompts: true, investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'orthanc',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'orthanc',
    configuration: { friendlyName: 'Orthanc', name: 'orthanc', wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web',
      wadoRoot: '/dicom-web', qidoSupportsIncludeField: true, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true, omitQuotationForMultipartRequest: true,
      bulkDataURI: { enabled: true } } }] };`;

const kinds = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.png': 'image/png' };

// The viewer's files, and Orthanc behind the same address.
function serve(request, response) {
  const target = new URL(request.url, 'http://localhost');
  if (target.pathname.startsWith('/dicom-web')) {
    const orthanc = new URL(options.orthanc);
    const headers = { ...request.headers, host: orthanc.host };
    const passed = http.request({ host: orthanc.hostname, port: orthanc.port, path: request.url, method: request.method,
      headers }, (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); });
    passed.on('error', () => { response.writeHead(502); response.end(); });
    request.pipe(passed);
    return;
  }
  if (target.pathname === '/app-config.js') {
    response.writeHead(200, { 'Content-Type': 'text/javascript' });
    response.end(configuration);
    return;
  }
  let file = path.join(options.viewer, path.normalize(decodeURIComponent(target.pathname)));
  if (!fs.existsSync(file) || fs.statSync(file).isDirectory()) file = path.join(options.viewer, 'index.html');
  response.writeHead(200, { 'Content-Type': kinds[path.extname(file)] || 'application/octet-stream' });
  fs.createReadStream(file).pipe(response);
}

// In the page: the viewport's segmentation once all of it is there; null before.
function segmentationState() {
  const services = window.services;
  if (!services || !services.segmentationService) return null;
  const found = services.segmentationService.getSegmentations();
  if (found.length === 0) return null;
  const labelmap = found[0].representationData.Labelmap;
  if (!labelmap) return null;
  const imageIds = labelmap.imageIds || [];
  const loaded = imageIds.filter((id) => window.cornerstone.cache.getImage(id));
  if (imageIds.length === 0 || loaded.length < imageIds.length) return null;
  return { slices: imageIds.length, segments: Object.keys(found[0].segments).length };
}

// In the page: of every slice that the segmentation lies on, its instance and the labels, row by row.
function labelsOfViewer() {
  const { cache, metaData } = window.cornerstone;
  const segmentation = window.services.segmentationService.getSegmentations()[0];
  const labelmap = segmentation.representationData.Labelmap;
  const slices = labelmap.imageIds.map((id) => {
    const image = cache.getImage(id);
    const referenced = image.referencedImageId;
    const { sopInstanceUID } = metaData.get('sopCommonModule', referenced);
    return { instance: sopInstanceUID, rows: image.rows, columns: image.columns,
      labels: Array.from(image.voxelManager ? image.voxelManager.getScalarData() : image.getPixelData()) };
  });
  const names = {};
  for (const [number, segment] of Object.entries(segmentation.segments)) names[number] = segment.label;
  return { slices, names };
}

(async () => {
  const server = http.createServer(serve);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${server.address().port}`;
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-'));
  const size = options.size || { width: 1280, height: 800 };
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: options.chromium, headless: true, viewport: size,
    args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'] });
  const messages = [];
  try {
    const page = browser.pages()[0] || await browser.newPage();
    page.on('console', (message) => { if (message.type() === 'error' || message.type() === 'warning') messages.push(message.text().split('\n')[0]); });
    page.on('response', (answer) => { if (answer.status() >= 400) messages.push(`${answer.status()} ${answer.url()}`); });
    page.on('pageerror', (problem) => messages.push(String(problem)));
    await page.route('**/*', (route) => (route.request().url().startsWith(address) || route.request().url().startsWith('blob:')
      || route.request().url().startsWith('data:') ? route.continue() : route.abort()));
    await page.goto(`${address}/viewer?StudyInstanceUIDs=${options.study}`, { waitUntil: 'domcontentloaded' });
    const patience = { timeout: (options.seconds || 60) * 1000, polling: 200 };
    await page.waitForFunction(() => window.services && window.services.displaySetService
      && window.services.displaySetService.getActiveDisplaySets().some((set) => set.Modality === 'SEG')
      && window.services.viewportGridService.getState().viewports.size > 0
      && window.services.cornerstoneViewportService.getCornerstoneViewport(
        window.services.viewportGridService.getState().activeViewportId), null, patience);
    // As a double click on the segmentation's thumbnail.
    await page.evaluate(async (uid) => {
      const services = window.services;
      const set = services.displaySetService.getActiveDisplaySets().find((one) => one.SeriesInstanceUID === uid);
      const viewportId = services.viewportGridService.getState().activeViewportId;
      const viewports = services.hangingProtocolService.getViewportsRequireUpdate(viewportId, set.displaySetInstanceUID);
      window.commandsManager.run('setDisplaySetsForViewports', { viewportsToUpdate: viewports });
    }, options.segmentation);
    await page.waitForFunction(segmentationState, null, patience);
    if (options.labels) fs.writeFileSync(options.labels, JSON.stringify(await page.evaluate(labelsOfViewer)));
    if (options.picture) {
      // The tour for those who are new here, then the list of segments.
      const skip = page.getByText('Skip all');
      await skip.click({ timeout: 15000 }).catch(() => {});
      await page.evaluate(() => {
        const panels = window.services.panelService;
        const wanted = panels.getPanels('right').find((one) => /segmentation/i.test(one.id));
        if (wanted) panels.activatePanel(wanted.id, true);
      });
      await page.evaluate((slice) => {
        const services = window.services;
        const id = services.viewportGridService.getState().activeViewportId;
        const viewport = services.cornerstoneViewportService.getCornerstoneViewport(id);
        if (slice !== undefined && viewport.setImageIdIndex) viewport.setImageIdIndex(slice);
        viewport.render();
      }, options.slice);
      await page.waitForTimeout(options.settle || 5000);
      await page.screenshot({ path: options.picture });
    }
  } catch (problem) {
    if (options.picture) {
      const pages = browser.pages();
      if (pages.length > 0) await pages[0].screenshot({ path: `${options.picture}.failed.png` }).catch(() => {});
    }
    console.error(`look: error: ${problem.message}\n${messages.slice(0, 20).join('\n')}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
    server.close();
    server.closeAllConnections();
    fs.rmSync(profile, { recursive: true, force: true });
  }
})();
