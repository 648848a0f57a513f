"""The model file: what is written is read back, and what docs/model-file.md forbids is refused, with file and field."""

import json
import os
import struct
import tempfile
import unittest

import numpy as np

import support
from e2enet_model_file import (Model, ModelFileError, dense_weight, read_model, replacing, sparse_from_dense, tensor_shapes,
                               write_model)


def split(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def join(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class ModelFile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "network.safetensors")

    def write(self, data):
        with open(self.path, "wb") as file:
            file.write(data)

    def refused(self, field):
        with self.assertRaises(ModelFileError) as caught:
            read_model(self.path)
        self.assertIn(self.path, str(caught.exception))
        self.assertIn(field, str(caught.exception))

    def test_what_is_written_is_read_back(self):
        for number, model in enumerate([
                support.random_model(),
                support.random_model(heads=(1, 2), density=1),
                support.random_model(density=0),
                support.random_model(pool_strides=[[3, 1, 2]], patch_size=[6, 5, 8], groups=3, max_features=5),
                support.random_model(base_features=1, input_channels=7, classes=1),
                support.random_model(labels={"0": "Hintergrund", "2": "Hüfte"}, mirror_axes=[0, 2],
                                     preprocessing={"spacing": [1, 0.5, 2.5], "orientation": "LPS", "normalization": [
                                         {"scheme": "CT", "clip": [-900, 300], "mean": 4.5, "sd": 2, "use_mask": True}]}),
        ]):
            with self.subTest(number=number):
                write_model(self.path, model)
                found = read_model(self.path)
                self.assertEqual(found.configuration, model.configuration)
                self.assertEqual(set(found.tensors), set(model.tensors))
                for name, tensor in model.tensors.items():
                    np.testing.assert_array_equal(found.tensors[name], tensor, err_msg=name)

    def test_the_file_is_aligned_ordered_and_without_gaps(self):
        model = support.random_model(heads=(1,))
        write_model(self.path, model)
        with open(self.path, "rb") as file:
            content = file.read()
        header, data = split(content)
        self.assertEqual((len(content) - len(data)) % 8, 0)
        header.pop("__metadata__")
        self.assertEqual(list(header), list(tensor_shapes(model.configuration, [1])))
        position = 0
        for entry in header.values():
            self.assertEqual(entry["data_offsets"][0], position)
            position = entry["data_offsets"][1]
        self.assertEqual(position, len(data))

    def test_dense_and_sparse_are_inverse(self):
        generator = np.random.default_rng(1)
        weight = generator.standard_normal((5, 7, 3, 3)).astype(np.float32)
        mask = generator.random((5, 7)) < 0.4
        weight *= mask[:, :, None, None]
        kernels, connectivity = sparse_from_dense(weight)
        self.assertEqual(len(kernels), mask.sum())
        np.testing.assert_array_equal(dense_weight(kernels, connectivity, 5, 7), weight)
        weight[2, 3] = 0
        mask[2, 3] = True
        self.assertIn([2, 3], sparse_from_dense(weight, mask)[1].tolist())
        self.assertNotIn([2, 3], sparse_from_dense(weight)[1].tolist())

    def test_a_file_cut_short_anywhere_is_refused(self):
        write_model(self.path, support.random_model(base_features=1, pool_strides=[[1, 1, 2]], patch_size=[1, 1, 2]))
        with open(self.path, "rb") as file:
            content = file.read()
        for length in range(0, len(content), 13):
            self.write(content[:length])
            with self.subTest(length=length), self.assertRaises(ModelFileError):
                read_model(self.path)

    def test_every_header_field_that_lies_is_refused(self):
        model = support.random_model()
        write_model(self.path, model)
        with open(self.path, "rb") as file:
            header, data = split(file.read())
        name = "fusion.0.1.0.bias"

        def changed(change):
            copy = json.loads(json.dumps(header))
            change(copy)
            return join(copy, data)

        begin, end = header[name]["data_offsets"]
        for change, field in [
            (lambda h: h[name].update(dtype="F16"), f"{name}.dtype"),
            (lambda h: h[name].update(dtype=3), f"{name}.dtype"),
            (lambda h: h[name].update(dtype="I32"), name),
            (lambda h: h[name].update(shape=[5]), f"{name}.data_offsets"),
            (lambda h: h[name].update(shape=[-4]), f"{name}.shape"),
            (lambda h: h[name].update(shape=[2**62, 2**62]), f"{name}.data_offsets"),
            (lambda h: h[name].update(shape=[2, 2]), name),
            (lambda h: h[name].update(shape="4"), f"{name}.shape"),
            (lambda h: h[name].update(shape=[True] * 4), f"{name}.shape"),
            (lambda h: h[name].update(data_offsets=[begin + 4, end + 4]), "data_offsets"),
            (lambda h: h[name].update(data_offsets=[begin - 4, end - 4]), "data_offsets"),
            (lambda h: h[name].update(data_offsets=[end, begin]), f"{name}.data_offsets"),
            (lambda h: h[name].update(data_offsets=[-4, 12]), f"{name}.data_offsets"),
            (lambda h: h[name].update(extra=1), name),
            (lambda h: h.update({name: None}), name),
            (lambda h: h.update(more=h[name]), "data_offsets"),
            (lambda h: h.update({"bias": h.pop(name)}), name),
            (lambda h: h.update(__metadata__={}), "e2enet"),
            (lambda h: h.update(__metadata__=[]), "__metadata__"),
            (lambda h: h["__metadata__"].update(e2enet="{"), "e2enet"),
            (lambda h: h["__metadata__"].update(e2enet="[]"), "configuration"),
            (lambda h: h["__metadata__"].update(e2enet='{"a": 1, "a": 2}'), "e2enet"),
            (lambda h: h["__metadata__"].update(e2enet='{"a": NaN}'), "e2enet"),
            (lambda h: h["__metadata__"].update(e2enet="[" * 100000), "e2enet"),
        ]:
            self.write(changed(change))
            self.refused(field)
        for content in (b"", b"\xff" * 8, struct.pack("<Q", 3) + b"{}", struct.pack("<Q", 2) + b"[]",
                        struct.pack("<Q", 2) + b"\xff\xfe", join(header, data) + b"\0\0\0\0"):
            self.write(content)
            with self.assertRaises(ModelFileError):
                read_model(self.path)

    def test_every_configuration_key_that_lies_is_refused(self):
        write_model(self.path, support.random_model())
        with open(self.path, "rb") as file:
            header, data = split(file.read())
        configuration = json.loads(header["__metadata__"]["e2enet"])
        channel = {"scheme": "CT", "clip": [0, 1], "mean": 0, "sd": 1}
        for key, value in [
            ("format_version", 2), ("format_version", "1"), ("format_version", True), ("input_channels", 0),
            ("input_channels", 1.0), ("classes", -1), ("classes", 2**40), ("base_features", None), ("max_features", 0),
            ("pool_strides", []), ("pool_strides", [[1, 2]]), ("pool_strides", [[1, 2, 0], [2, 2, 2]]),
            ("pool_strides", [[1, 1, 1]] * 100000), ("groups", 4), ("groups", -1), ("patch_size", [4, 8]),
            ("patch_size", [3, 8, 8]), ("patch_size", [0, 8, 8]), ("output", "relu"), ("output", "sigmoid"),
            ("region_order", [1, 2, 3]), ("labels", []), ("labels", {"-1": "x"}), ("labels", {"01": "x"}),
            ("labels", {"3": "x"}), ("labels", {"1": 2}), ("mirror_axes", [3]), ("mirror_axes", [1, 1]),
            ("mirror_axes", None), ("preprocessing", []), ("preprocessing", {"spacing": [1, 1, 0]}),
            ("preprocessing", {"spacing": [1, 1]}), ("preprocessing", {"transpose_forward": [0, 1, 1]}),
            ("preprocessing", {"orientation": "RAL"}), ("preprocessing", {"orientation": "XYZ"}),
            ("preprocessing", {"orientation": 5}), ("preprocessing", {"normalization": []}),
            ("preprocessing", {"normalization": [{"scheme": "MR"}]}),
            ("preprocessing", {"normalization": [{**channel, "clip": [2, 1]}]}),
            ("preprocessing", {"normalization": [{**channel, "sd": 0}]}),
            ("preprocessing", {"normalization": [{**channel, "mean": "0"}]}),
            ("preprocessing", {"normalization": [{"scheme": "CT2"}]}),
            ("preprocessing", {"normalization": [{"use_mask": 1}]}),
            ("mirrored_labels", {}), ("mirrored_labels", [[1]]), ("mirrored_labels", [[0, 1]]),
            ("mirrored_labels", [[1, 3]]), ("mirrored_labels", [[1, 1]]), ("mirrored_labels", [[1, True]]),
            ("mirrored_labels", [[1, 2], [2, 1]]), ("mirrored_labels", [[1, 2]]),  # the last: no orientation
            ("postprocessing", {"largest_component": 1}), ("postprocessing", {"largest_component": [0]}),
            ("provenance", "unknown"),
        ]:
            header["__metadata__"]["e2enet"] = json.dumps({**configuration, key: value})
            self.write(join(header, data))
            with self.subTest(key=key, value=str(value)[:80]):
                self.refused("pooling steps" if value == [[1, 1, 1]] * 100000 else "region_order" if value == "sigmoid" else key)
        for key in ("format_version", "input_channels", "classes", "base_features", "pool_strides", "patch_size"):
            header["__metadata__"]["e2enet"] = json.dumps({k: v for k, v in configuration.items() if k != key})
            self.write(join(header, data))
            self.refused(key)

    def test_wrong_tensors_are_refused_and_nothing_is_written(self):
        kernels, connectivity = "fusion.0.1.0.kernels", "fusion.0.1.0.connectivity"

        def alter(name, position, value):
            def change(tensors):
                tensors[name] = tensors[name].copy()
                tensors[name][position] = value
            return change

        for change, field in [
            (alter(kernels, (0, 1, 1), np.nan), kernels),
            (alter("head.0.weight", (0, 0), np.inf), "head.0.weight"),
            (alter(connectivity, (0, 0), -1), f"{connectivity}[0]"),
            (alter(connectivity, (-1, 1), 8), connectivity),
            (alter(connectivity, slice(0, 2), 0), f"{connectivity}[1]"),
            (lambda t: t.update({connectivity: t[connectivity][::-1].copy()}), connectivity),
            (lambda t: t.update({connectivity: t[connectivity][1:]}), connectivity),
            (lambda t: t.update({kernels: t[kernels][:, :2]}), kernels),
            (lambda t: t.update({kernels: t[kernels].astype(np.float64)}), kernels),
            (lambda t: t.pop(kernels), kernels),
            (lambda t: t.update(more=t["head.0.weight"]), "tensor"),
            (lambda t: t.update({"head.3.weight": t["head.0.weight"]}), "head.3.weight"),
        ]:
            model = support.random_model()
            tensors = dict(model.tensors)
            change(tensors)
            with self.subTest(field=field), self.assertRaises(ModelFileError) as caught:
                write_model(self.path, Model(model.configuration, tensors))
            self.assertIn(field, str(caught.exception))
            self.assertEqual(os.listdir(self.folder.name), [])

    def test_an_error_while_writing_leaves_the_old_file(self):
        self.write(b"old")
        with self.assertRaises(RuntimeError):
            with replacing(self.path) as file:
                file.write(b"new")
                raise RuntimeError
        with open(self.path, "rb") as file:
            self.assertEqual(file.read(), b"old")
        self.assertEqual(os.listdir(self.folder.name), ["network.safetensors"])

    def test_the_shipped_files_are_valid(self):
        models = os.path.join(support.ROOT, "models")
        paths = [os.path.join(folder, name) for folder in (models, support.NETWORKS) for name in sorted(os.listdir(folder))
                 if name.endswith(".safetensors")]
        self.assertGreaterEqual(len(paths), 4)
        for path in paths:
            with self.subTest(path=os.path.basename(path)):
                provenance = read_model(path).configuration["provenance"]
                # Of the model as a whole, or of the data it derives from, where e2enet_train writes it.
                self.assertTrue(provenance.get("licence") or provenance["data"].get("licence"), provenance)


if __name__ == "__main__":
    unittest.main()
