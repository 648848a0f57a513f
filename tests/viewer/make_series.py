#!/usr/bin/env python3
"""Makes a DICOM series of axial MR slices out of a NIfTI image of a head, so that pictures and trials need no patient.

  make_series.py IMAGE.nii.gz FOLDER
"""
import os
import sys

import nibabel
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498.1"  # pydicom's own, for what is made up
STUDY, SERIES, FRAME = ROOT + ".1", ROOT + ".2", ROOT + ".3"


def main(image, folder):
    # To the left, to the back and upwards, as DICOM counts.
    head = nibabel.as_closest_canonical(nibabel.load(image))
    voxels = np.asarray(head.dataobj)[::-1, ::-1]
    spacing = head.header.get_zooms()[:3]
    last = head.affine @ [voxels.shape[0] - 1, voxels.shape[1] - 1, 0, 1]
    # Columns and rows in multiples of 16, as scanners make them.
    voxels = np.pad(voxels, [(0, -size % 16) for size in voxels.shape[:2]] + [(0, 0)])
    os.makedirs(folder)
    for k in range(voxels.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        meta.MediaStorageSOPInstanceUID = f"{SERIES}.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Colin27^Average", "colin27", "", ""
        data.StudyDate, data.StudyTime, data.StudyID = "19980101", "120000", "1"
        data.AccessionNumber = data.ReferringPhysicianName = data.PositionReferenceIndicator = ""
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = STUDY, SERIES, FRAME
        data.StudyDescription, data.SeriesDescription, data.Modality = "Colin27", "T1", "MR"
        data.SeriesNumber, data.InstanceNumber, data.Manufacturer = 1, k + 1, "e2enet's tests"
        data.ImageType, data.ScanningSequence, data.SequenceVariant = ["DERIVED", "PRIMARY", "OTHER"], "RM", "NONE"
        data.ScanOptions, data.MRAcquisitionType, data.EchoTime, data.EchoTrainLength = "", "3D", "", ""
        data.Rows, data.Columns = voxels.shape[1], voxels.shape[0]
        data.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        data.SliceThickness = float(spacing[2])
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-float(last[0]), -float(last[1]), float(head.affine[2, 3] + k * spacing[2])]
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.WindowCenter, data.WindowWidth = float(voxels.max()) / 2, float(voxels.max())
        data.PixelData = np.ascontiguousarray(voxels[:, :, k].T).astype("<u2").tobytes()
        data.save_as(os.path.join(folder, f"{k:03d}.dcm"), write_like_original=False)
    print(STUDY)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
