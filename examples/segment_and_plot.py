#!/usr/bin/env python3
"""Segments an image and draws a slice of it with its labels: cells to be run one after the other, in a notebook or here.

    segment_and_plot.py MODEL.safetensors IMAGE.nii.gz PICTURE.png

Needs the package (`pip install ./python`), nibabel and matplotlib.
"""

# %% What to work on
import sys

import matplotlib

matplotlib.use("Agg")  # a notebook does without this line and shows the figure itself
import matplotlib.pyplot as plt
import nibabel
import numpy as np

import e2enet

model_path, image_path, picture_path = sys.argv[1:4]

# %% The model and the image
model = e2enet.Model.load(model_path)
print(model.labels)
image = nibabel.load(image_path)

# %% How long it will take, and how much memory
segmenter = e2enet.Segmenter(model)
forecast = segmenter.forecast(image)
print(f"about {forecast.seconds:.1f} s, {forecast.peak_bytes / 2**20:.0f} MiB")

# %% Segment it
found = segmenter.segment(image, progress=lambda at: print(f"\r{at.stage} {at.done}/{at.total}", end=""))
print()
for value, label in found.statistics.items():
    print(f"{value:3} {label.name:30} {label.ml:9.2f} mL")

# %% The slice with the most labels, as a radiologist looks at it: the patient's right is on the left
voxels = nibabel.as_closest_canonical(image)
labels = np.asarray(nibabel.as_closest_canonical(found.labels).dataobj)
k = int(np.count_nonzero(labels, axis=(0, 1)).argmax())
background = np.asarray(voxels.dataobj)[:, :, k]
over = np.ma.masked_equal(labels[:, :, k], 0)
width, height, _ = voxels.header.get_zooms()[:3]

figure, axes = plt.subplots(figsize=(6, 6))
axes.imshow(background[::-1].T, cmap="gray", origin="lower", aspect=float(height / width))
axes.imshow(over[::-1].T, cmap="tab10", origin="lower", aspect=float(height / width), alpha=0.6, interpolation="nearest",
            vmin=0, vmax=max(10, model.largest_label))
axes.set_title(f"slice {k}")
axes.set_axis_off()
figure.savefig(picture_path, dpi=120, bbox_inches="tight")
