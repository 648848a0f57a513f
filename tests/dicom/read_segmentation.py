#!/usr/bin/env python3
"""Reads a DICOM segmentation with pydicom, as a stranger would: by its own attributes, knowing nothing of who wrote it.

read_segmentation.py FILE prints a line for each segment, "segment NUMBER NAME", and one for each pixel that is set,
"NUMBER x y z" with its place in NIfTI's space in mm. What does not fit together is an error.
"""
import sys

import numpy as np
import pydicom


def place(frame, shared, sequence):
    for groups in (frame, shared):
        if sequence in groups:
            return groups[sequence].value[0]
    raise SystemExit(f"no {sequence}")


def main():
    data = pydicom.dcmread(sys.argv[1])
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert data.SegmentationType == "BINARY" and data.BitsAllocated == 1
    assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
    for segment in data.SegmentSequence:
        print("segment", segment.SegmentNumber, segment.SegmentLabel)
    pixels = data.pixel_array.reshape(int(data.NumberOfFrames), data.Rows, data.Columns)
    frames = data.PerFrameFunctionalGroupsSequence
    assert len(frames) == len(pixels)
    shared = data.SharedFunctionalGroupsSequence[0]
    instances = {
        item.ReferencedSOPInstanceUID
        for series in data.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    for frame, mask in zip(frames, pixels):
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID in instances
        assert frame.FrameContentSequence[0].DimensionIndexValues[0] == number
        origin = np.array(place(frame, shared, "PlanePositionSequence").ImagePositionPatient, float)
        directions = np.array(place(frame, shared, "PlaneOrientationSequence").ImageOrientationPatient, float)
        between_rows, between_columns = map(float, place(frame, shared, "PixelMeasuresSequence").PixelSpacing)
        for row, column in zip(*np.nonzero(mask)):
            x, y, z = origin + column * between_columns * directions[:3] + row * between_rows * directions[3:]
            print(number, f"{-x:.6f} {-y:.6f} {z:.6f}")


main()
