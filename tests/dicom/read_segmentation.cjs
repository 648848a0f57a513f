// Reads a DICOM segmentation with dcmjs, as a viewer in a browser would: read_segmentation.cjs DCMJS_FOLDER FILE prints
// what read_segmentation.py prints, a line for each segment and for each pixel that is set, with its place in NIfTI's
// space in mm.
const fs = require("fs");
const path = require("path");

const dcmjs = require(path.resolve(process.argv[2]));
dcmjs.log && dcmjs.log.setLevel && dcmjs.log.setLevel("silent");
const bytes = fs.readFileSync(process.argv[3]);
const file = dcmjs.data.DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const data = dcmjs.data.DicomMetaDictionary.naturalizeDataset(file.dict);
const list = (value) => (Array.isArray(value) ? value : [value]);
const first = (value) => list(value)[0];

if (data.SOPClassUID !== "1.2.840.10008.5.1.4.1.1.66.4") throw new Error("no segmentation");
const lines = [];
for (const segment of list(data.SegmentSequence)) lines.push(`segment ${segment.SegmentNumber} ${segment.SegmentLabel}`);
const bits = dcmjs.data.BitArray.unpack(first(data.PixelData));
const shared = first(data.SharedFunctionalGroupsSequence);
const of = (frame, sequence) => first(frame[sequence] || shared[sequence]);
const pixels = data.Rows * data.Columns;
list(data.PerFrameFunctionalGroupsSequence).forEach((frame, number) => {
  const segment = of(frame, "SegmentIdentificationSequence").ReferencedSegmentNumber;
  const origin = of(frame, "PlanePositionSequence").ImagePositionPatient.map(Number);
  const directions = of(frame, "PlaneOrientationSequence").ImageOrientationPatient.map(Number);
  const [betweenRows, betweenColumns] = of(frame, "PixelMeasuresSequence").PixelSpacing.map(Number);
  for (let row = 0; row < data.Rows; ++row) {
    for (let column = 0; column < data.Columns; ++column) {
      if (!bits[number * pixels + row * data.Columns + column]) continue;
      const place = [0, 1, 2].map(
        (x) => origin[x] + column * betweenColumns * directions[x] + row * betweenRows * directions[3 + x],
      );
      lines.push(`${segment} ${(-place[0]).toFixed(6)} ${(-place[1]).toFixed(6)} ${place[2].toFixed(6)}`);
    }
  }
});
process.stdout.write(lines.join("\n") + "\n");
