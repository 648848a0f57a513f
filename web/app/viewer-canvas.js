// The view where there is no WebGL: three planes on a plain canvas. The patient's right is on the left, as radiologists look.

const PLANES = { Axial: 2, Coronal: 1, Sagittal: 0 };  // the world's axis that a plane is cut across: x (right), y (front), z (up)
const LETTERS = { Axial: ['R', 'L', 'A', 'P'], Coronal: ['R', 'L', 'S', 'I'], Sagittal: ['A', 'P', 'S', 'I'] };

// Which axis of the image (i, j, k) each of the world's is nearest to, and whether it runs backwards.
export function axesOf(affine) {
  const choices = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const length = (axis) => Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]) || 1;
  const fit = (order) => order.reduce((sum, axis, world) => sum + Math.abs(affine[world][axis]) / length(axis), 0);
  const best = choices.reduce((a, b) => (fit(b) > fit(a) ? b : a));
  return best.map((axis, world) => ({ axis, backwards: affine[world][axis] < 0, mm: length(axis) }));
}

export async function openViewer(canvas, onLocation) {
  const context = canvas.getContext('2d');
  let image = null;   // {voxels, shape, affine, world, low, high}
  let labels = null;  // {values, colors, names}
  let opacity = 0.55;
  let view = 'All';
  let at = [0, 0, 0];  // in voxels along the world's axes
  let panels = [];

  const size = (world) => image.shape[image.world[world].axis];
  const strides = () => [1, image.shape[0], image.shape[0] * image.shape[1]];
  const stepOf = (world) => {
    const { axis, backwards } = image.world[world];
    const stride = strides()[axis];
    return backwards ? { from: stride * (image.shape[axis] - 1), step: -stride } : { from: 0, step: stride };
  };

  function drawPlane(name, left, top, width, height) {
    const across = PLANES[name];
    const [u, v] = [0, 1, 2].filter((world) => world !== across);  // to the right of the picture, upwards
    const columns = size(u), rows = size(v);
    const mm = [columns * image.world[u].mm, rows * image.world[v].mm];
    const scale = Math.min(width / mm[0], height / mm[1]);
    const box = { name, u, v, across, width: mm[0] * scale, height: mm[1] * scale };
    box.left = left + (width - box.width) / 2;
    box.top = top + (height - box.height) / 2;
    panels.push(box);

    const pixels = new ImageData(columns, rows);
    const [su, sv, sa] = [stepOf(u), stepOf(v), stepOf(across)];
    const base = sa.from + at[across] * sa.step;
    const { low, high } = image;
    for (let row = 0; row < rows; ++row) {
      for (let column = 0; column < columns; ++column) {
        // Rows go down the picture, columns to the patient's left (or back).
        const voxel = base + sv.from + (rows - 1 - row) * sv.step + su.from + (columns - 1 - column) * su.step;
        let grey = 255 * (image.voxels[voxel] - low) / (high - low);
        grey = grey > 0 ? Math.min(grey, 255) : 0;
        let color = [grey, grey, grey];
        const value = labels ? labels.values[voxel] : 0;
        if (value !== 0) {
          const over = labels.colors.get(value) ?? [255, 255, 0];
          color = color.map((below, c) => below + (over[c] - below) * opacity);
        }
        const to = 4 * (row * columns + column);
        pixels.data[to] = color[0]; pixels.data[to + 1] = color[1]; pixels.data[to + 2] = color[2]; pixels.data[to + 3] = 255;
      }
    }
    const plane = new OffscreenCanvas(columns, rows);
    plane.getContext('2d').putImageData(pixels, 0, 0);
    context.imageSmoothingQuality = 'high';
    context.drawImage(plane, box.left, box.top, box.width, box.height);

    const x = box.left + (columns - 0.5 - at[u]) / columns * box.width, y = box.top + (rows - 0.5 - at[v]) / rows * box.height;
    context.strokeStyle = 'rgb(88 180 200 / .8)';
    context.beginPath();
    context.moveTo(x, box.top); context.lineTo(x, box.top + box.height);
    context.moveTo(box.left, y); context.lineTo(box.left + box.width, y);
    context.stroke();
    context.fillStyle = '#d8e2e4';
    const [west, east, north, south] = LETTERS[name];
    const middle = [box.left + box.width / 2, box.top + box.height / 2];
    context.font = `${Math.round(13 * ratio())}px system-ui, sans-serif`;
    context.textAlign = 'center'; context.textBaseline = 'middle';
    const inset = 11 * ratio();
    for (const [letter, px, py] of [[west, box.left + inset, middle[1]], [east, box.left + box.width - inset, middle[1]],
                                    [north, middle[0], box.top + inset], [south, middle[0], box.top + box.height - inset]]) {
      context.fillText(letter, px, py);
    }
  }

  const ratio = () => globalThis.devicePixelRatio || 1;

  function draw() {
    const { clientWidth, clientHeight } = canvas;
    canvas.width = Math.max(1, Math.round(clientWidth * ratio()));
    canvas.height = Math.max(1, Math.round(clientHeight * ratio()));
    context.fillStyle = '#0c1114';
    context.fillRect(0, 0, canvas.width, canvas.height);
    panels = [];
    if (!image) return;
    const names = view === 'All' ? Object.keys(PLANES) : [view];
    const gap = 8 * ratio();
    const width = (canvas.width - gap * (names.length + 1)) / names.length;
    names.forEach((name, n) => drawPlane(name, gap + n * (width + gap), gap, width, canvas.height - 2 * gap));
  }

  function tell() {
    const voxel = [0, 0, 0];
    for (let world = 0; world < 3; ++world) {
      const { axis, backwards } = image.world[world];
      voxel[axis] = backwards ? image.shape[axis] - 1 - at[world] : at[world];
    }
    const [i, j, k] = voxel;
    const value = labels ? labels.values[i + image.shape[0] * (j + image.shape[1] * k)] : 0;
    onLocation({ mm: image.affine.slice(0, 3).map((row) => Math.round(row[0] * i + row[1] * j + row[2] * k + row[3])), label: labels?.names.get(value) ?? '' });
  }

  function move(world, to) {
    at[world] = Math.max(0, Math.min(size(world) - 1, to));
  }

  function point(event) {
    if (!image) return;
    const { left, top } = canvas.getBoundingClientRect();
    const x = (event.clientX - left) * ratio(), y = (event.clientY - top) * ratio();
    const box = panels.find((one) => x >= one.left && x < one.left + one.width && y >= one.top && y < one.top + one.height);
    if (!box) return;
    move(box.u, size(box.u) - 1 - Math.floor((x - box.left) / box.width * size(box.u)));
    move(box.v, size(box.v) - 1 - Math.floor((y - box.top) / box.height * size(box.v)));
    draw();
    tell();
  }
  canvas.addEventListener('pointerdown', (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
  canvas.addEventListener('pointermove', (event) => { if (event.buttons & 1) point(event); });
  canvas.addEventListener('wheel', (event) => {
    if (!image) return;
    event.preventDefault();
    const { left, top } = canvas.getBoundingClientRect();
    const x = (event.clientX - left) * ratio();
    const box = panels.find((one) => x >= one.left && x < one.left + one.width) ?? panels[0];
    move(box.across, at[box.across] + Math.sign(event.deltaY));
    draw();
    tell();
  }, { passive: false });
  // Arrow keys move in the axial plane, page keys from slice to slice.
  canvas.addEventListener('keydown', (event) => {
    const moves = { ArrowLeft: [0, 1], ArrowRight: [0, -1], ArrowUp: [1, 1], ArrowDown: [1, -1], PageUp: [2, 1], PageDown: [2, -1] };
    const wanted = moves[event.key];
    if (!image || !wanted) return;
    event.preventDefault();
    move(wanted[0], at[wanted[0]] + wanted[1]);
    draw();
    tell();
  });
  new ResizeObserver(draw).observe(canvas);

  return {
    kind: 'canvas',
    needsVoxels: true,  // a promise of what the segmenter's read() gives
    views: ['All', ...Object.keys(PLANES)],

    async show({ voxels: reading }) {
      const { voxels, geometry } = await reading;
      const sample = Float32Array.from({ length: 20000 }, (_, n) => voxels[Math.floor(n / 20000 * voxels.length)]).filter(Number.isFinite).sort();
      const low = sample[Math.floor(sample.length * 0.005)] ?? 0, high = sample[Math.floor(sample.length * 0.995)] ?? 1;
      labels = null;
      image = { voxels, shape: geometry.shape, affine: geometry.affine, world: axesOf(geometry.affine), low, high: high > low ? high : low + 1 };
      at = [0, 1, 2].map((world) => Math.floor(size(world) / 2));
      draw();
    },
    async setLabels({ values, labels: table }) {
      labels = { values, colors: new Map(table.map(({ value, color }) => [value, color])),
                 names: new Map(table.filter(({ value }) => value !== 0).map(({ value, name }) => [value, name])) };
      draw();
    },
    clearLabels() {
      labels = null;
      draw();
    },
    lookAt(voxel) {
      for (let world = 0; world < 3; ++world) {
        const { axis, backwards } = image.world[world];
        move(world, backwards ? image.shape[axis] - 1 - voxel[axis] : voxel[axis]);
      }
      draw();
      tell();
    },
    setView(name) { view = name; draw(); },
    setOpacity(value) { opacity = value; draw(); },
    picture() {
      draw();
      return new Promise((resolve) => { canvas.toBlob(resolve, 'image/png'); });
    },
  };
}
