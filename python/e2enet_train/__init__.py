"""Trains E2ENet with dynamic sparse feature fusion (DSFF) from a folder of images and labels.

The parts, in the order in which a run uses them:

    dataset.py     which cases there are, and the small JSON that describes them
    planning.py    spacing, patch size, poolings and normalisation, decided from the data
    preprocess.py  from a NIfTI file to what the network sees, and back
    augment.py     one training batch as a pure function of (seed, iteration)
    network.py     the network, depth folded into the batch, channels last
    dsff.py        masks, and the drop-and-grow update
    loss.py        Dice + cross-entropy over the deep supervision outputs
    settings.py    what else decides the result of a run
    training.py    its state and one step: schedules, sparse updates, running average
    checkpoint.py  that state without the absent kernels, for files
    trainer.py     the loop over a run's folder: batches, validation, log, stop and resume
    results.py     the model file of a run, and where it comes from
    inference.py   tiles with a Gaussian weight, mirroring, Dice
    export.py      the model file
    evaluate.py    a model file over a folder of cases
"""
