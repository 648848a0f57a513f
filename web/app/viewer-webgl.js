// The view by NiiVue: three planes and 3D, where the browser has WebGL 2.
import { Niivue, NVImage, MULTIPLANAR_TYPE, SLICE_TYPE, SHOW_RENDER } from '@niivue/niivue';

const TYPES = { All: SLICE_TYPE.MULTIPLANAR, Axial: SLICE_TYPE.AXIAL, Coronal: SLICE_TYPE.CORONAL, Sagittal: SLICE_TYPE.SAGITTAL, '3D': SLICE_TYPE.RENDER };

export async function openViewer(canvas, onLocation) {
  const niivue = new Niivue({
    backColor: [0.047, 0.067, 0.078, 1], crosshairColor: [0.35, 0.75, 0.85, 0.9], isRadiologicalConvention: true,
    sagittalNoseLeft: true, show3Dcrosshair: false, fontColor: [0.85, 0.89, 0.9, 1], fontMinPx: 15, multiplanarLayout: MULTIPLANAR_TYPE.GRID,
    multiplanarPadPixels: 8, multiplanarShowRender: SHOW_RENDER.ALWAYS, dragAndDropEnabled: false, loadingText: '', isColorbar: false,
    isOrientCube: false, isNearestInterpolation: false, logLevel: 'silent',
  });
  await niivue.attachToCanvas(canvas);
  let names = new Map();
  niivue.onLocationChange = (place) => {
    const value = Math.round(place.values?.[1]?.value ?? 0);
    const mm = place.mm ? Array.from(place.mm).slice(0, 3).map((x) => Math.round(x)) : null;
    onLocation({ mm, label: names.get(value) ?? '' });
  };

  return {
    kind: 'webgl',
    needsVoxels: false,  // NiiVue reads files itself
    views: Object.keys(TYPES),

    async show({ files }) {
      while (niivue.volumes.length > 0) niivue.removeVolumeByIndex(0);
      const pair = files.find((file) => /\.img(\.gz)?$/i.test(file.name));
      const main = files.find((file) => file !== pair) ?? files[0];
      const image = await NVImage.new(await main.blob.arrayBuffer(), main.name, 'gray', 1, pair && pair !== main ? await pair.blob.arrayBuffer() : null,
                                      NaN, NaN, true, 0.005);
      niivue.addVolume(image);
      niivue.setCrosshairWidth(Math.max(...image.dims.slice(1, 4)) / 350);  // in voxels: a thin line, whatever the size
      niivue.setSliceType(niivue.opts.sliceType ?? SLICE_TYPE.MULTIPLANAR);
    },

    async setLabels({ nifti, labels }) {
      this.clearLabels();
      const overlay = await NVImage.new(nifti.slice().buffer, 'labels.nii.gz', 'gray', 0.55, null);
      const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [''] };
      for (const { value, name, color } of labels) {
        if (value === 0) continue;
        table.R.push(color[0]); table.G.push(color[1]); table.B.push(color[2]); table.A.push(255);
        table.I.push(value); table.labels.push(name);
      }
      names = new Map(labels.filter(({ value }) => value !== 0).map(({ value, name }) => [value, name]));
      overlay.setColormapLabel(table);
      niivue.addVolume(overlay);
      niivue.updateGLVolume();
    },
    clearLabels() {
      names = new Map();
      while (niivue.volumes.length > 1) niivue.removeVolumeByIndex(1);
    },

    // Voxel i, j, k of the image: where the crosshair goes.
    lookAt(voxel) {
      const { dims } = niivue.volumes[0];
      niivue.scene.crosshairPos = niivue.vox2frac ? niivue.vox2frac(voxel) : voxel.map((v, axis) => (v + 0.5) / dims[axis + 1]);
      niivue.drawScene();
    },
    setView(name) { niivue.setSliceType(TYPES[name]); },
    setOpacity(opacity) { if (niivue.volumes.length > 1) niivue.setOpacity(1, opacity); },
    // Drawn and read in one go: what WebGL has drawn is gone once it was shown.
    picture() {
      niivue.drawScene();
      return new Promise((resolve) => { canvas.toBlob(resolve, 'image/png'); });
    },
  };
}
