"""Writing a dataset file: whole or absent, self-describing, with a checksum on everything."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciml.dataset_content import Content
from sciml.dataset_file import read_layout, read_variables, rehearse, verify_file
from sciml.errors import DataError
from sciml.files import _remove, _rename, _sync, identity, temporary_name
from sciml.hdf5 import open_file, read_attributes, rows_per_block
from sciml.moments import moments
from sciml.sandbox import vouch
from sciml.schema import DIMENSION_ONLY, Field, Statistics, canonical, chunk_shape, content_digest


def write_file(path: Path, content: Content, *, replaces: tuple[int, ...] | None = None) -> None:
    """Write under a temporary name, read everything back, then rename.

    ``replaces`` is the `sciml.files.identity` that the file under this name must still have.

    Raises
    ------
    DataError
        If somebody else has replaced the file meanwhile.
    OSError
        If there is no room; what was under the name before is still there.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"write_dataset: there is no folder {path.parent}; create it first.")
    temporary = temporary_name(path)
    try:
        size = _estimate(content)
        _reserve(temporary, size)
        file = _create(temporary)
        try:
            _reserve(temporary, size)  # creating has cut the file to nothing
            _fill(file, content)
        finally:
            file.close()
        _trim(temporary)
        check = open_file(temporary)
        try:
            verify_file(check, read_layout(check, temporary), temporary)
        finally:
            check.close()
        if replaces is not None and identity(path) != replaces:
            raise DataError(f"{path}: was replaced by another process meanwhile. Do it again.")
        _rename(temporary, path)
        _sync(path.parent)
        vouch(path, rehearse)
    except BaseException:
        _remove(temporary)
        raise


def _estimate(content: Content) -> int:
    """At least the bytes of the file: padded chunks, 64 bytes of index for each, headers, attributes."""
    total = sum(len(str(value)) * 4 for value in content.attributes.values())
    for variable, _ in content.variables.values():
        itemsize = variable.dtype.itemsize
        chunk = chunk_shape(variable.dims, variable.shape, itemsize)
        count = math.prod(-(-n // c) for n, c in zip(variable.shape, chunk, strict=True))
        total += count * (math.prod(chunk) * itemsize + 64) + 2**16
    return total + 2**17


def _reserve(path: Path, size: int) -> None:
    """Claim room on the disk, since HDF5 that finds it full while closing can end the process."""
    if not hasattr(os, "posix_fallocate"):
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, f"write_dataset: no room for {size} bytes", str(path))
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise OSError(
            error.errno, f"write_dataset: no room for {size} bytes ({reason})", str(path)
        ) from error
    finally:
        os.close(descriptor)


def _trim(path: Path) -> None:
    """Cut what was reserved and not used, and make the file durable."""
    with path.open("rb+") as file:
        # Superblock version 3: the end of the file is an 8-byte number at offset 28.
        end = int.from_bytes(file.read(36)[28:], "little")
        file.truncate(end)
        file.flush()
        os.fsync(file.fileno())


def _create(path: Path) -> Any:
    """A new HDF5 file that remembers the order of creation and no times, so that equal content gives equal
    bytes.

    The layout of HDF5 1.10 has checksums over all of its structure, and every current reader knows it.
    """
    import h5py
    from h5py import h5f, h5p

    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_link_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    creation.set_attr_creation_order(h5p.CRT_ORDER_TRACKED | h5p.CRT_ORDER_INDEXED)
    creation.set_obj_track_times(False)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)
    return h5py.File(h5f.create(os.fsencode(path), h5f.ACC_TRUNC, fcpl=creation, fapl=access))


def _fill(file: Any, content: Content) -> None:
    scales: dict[str, Any] = {}
    # Scales first: netCDF numbers dimensions in the order of their creation.
    for name in sorted(content.variables, key=lambda n: content.variables[n][0].dims != (n,)):
        variable, values = content.variables[name]
        for dim, size in zip(variable.dims, variable.shape, strict=True):
            if dim != name and dim not in scales:
                scales[dim] = _dimension_only(file, dim, size, len(scales))
        dataset = file.create_dataset(
            name,
            shape=variable.shape,
            dtype=canonical(variable.dtype),
            chunks=chunk_shape(variable.dims, variable.shape, variable.dtype.itemsize),
            fletcher32=True,
            track_order=True,
        )
        if variable.dims == (name,):
            dataset.make_scale(name)
            dataset.attrs["_Netcdf4Dimid"] = np.int32(len(scales))
            scales[name] = dataset
        else:
            for i, dim in enumerate(variable.dims):
                dataset.dims[i].attach_scale(scales[dim])
        numbers = [scales[dim].attrs["_Netcdf4Dimid"] for dim in variable.dims]
        dataset.attrs["_Netcdf4Coordinates"] = np.array(numbers, dtype=np.int32)
        _set_attributes(dataset, variable.attributes)
        dataset.attrs["sha256"] = _text(_stream(dataset, values, name))
    items = {f.name: f for f in content.fields}
    for name, (_, values) in content.variables.items():
        if name in items and items[name].role != "parameter":
            dims = content.variables[name][0].dims
            spot = content.locations.get(dims[0])
            train = spot.places(content.train) if spot is not None and spot.ragged else content.train
            _set_statistics(file[name], items[name], values, train, dims)
    _set_attributes(file, content.attributes)
    # Over what a reader will find, not over what was meant to be written.
    described = read_variables(file, Path(file.filename), list(content.variables))
    attributes = read_attributes(file, Path(file.filename), "the root")
    file.attrs["sciml_digest"] = _text(content_digest(attributes, list(described.values())))
    file.attrs["sciml_complete"] = 1


def _dimension_only(file: Any, name: str, size: int, number: int) -> Any:
    dataset = file.create_dataset(name, shape=(size,), dtype="<f4", track_order=True)
    dataset.make_scale(f"{DIMENSION_ONLY}{size:10d}")
    dataset.attrs["_Netcdf4Dimid"] = np.int32(number)
    return dataset


def _stream(dataset: Any, values: NDArray[Any], name: str) -> str:
    """Write block by block; return the SHA-256 of the little-endian bytes."""
    state = hashlib.sha256()
    step = rows_per_block(values.shape, values.dtype.itemsize, dataset.chunks[0])
    for start in range(0, values.shape[0], step):
        block = np.ascontiguousarray(values[start : start + step], dtype=canonical(values.dtype))
        if name != "discretization_error" and block.dtype.kind == "f" and not np.isfinite(block).all():
            first = np.argwhere(~np.isfinite(block))[0]
            first[0] += start
            raise DataError(
                f"write_dataset: {name!r} is not finite at file index {tuple(first.tolist())} "
                f"(in the order sample, time, space, component). Repair or leave out that sample."
            )
        dataset[start : start + step] = block
        state.update(block.data)
    return state.hexdigest()


def _set_statistics(
    dataset: Any, item: Field, values: NDArray[Any], train: NDArray[np.int64], dims: tuple[str, ...]
) -> None:
    """The moments over the entries ``train`` of the first dimension: samples, or the points of samples."""
    if item.sample and len(train) == 0:
        return

    def blocks() -> Iterator[NDArray[Any]]:
        width = item.components if item.components > 1 else 1
        tail = values.shape[1:-1] if item.components > 1 else values.shape[1:]
        rows = train if item.sample else np.arange(len(values))
        step = rows_per_block(values.shape, values.dtype.itemsize)
        if item.time and not item.sample:
            step = len(values)  # differences of frames must not be cut
        for start in range(0, len(rows), step):
            picked = rows[start : start + step]
            yield values[picked].reshape(len(picked), *tail, width)

    time_axis = dims.index("time") if item.time else None
    for key, value in statistics_attributes(moments(blocks, item.name, time_axis=time_axis)).items():
        dataset.attrs[key] = value
    dataset.attrs["statistics_split"] = _text("train")


def statistics_attributes(found: Statistics) -> dict[str, NDArray[np.float64]]:
    """The moments under the names they have in the file."""
    listed = {
        name: getattr(found, name) for name in ("mean", "std", "rms", "min", "max", "mean_delta", "std_delta")
    }
    return {name: value for name, value in listed.items() if value is not None}


def _text(value: str) -> Any:
    """Fixed-length UTF-8: it lies in the checksummed header, unlike text of variable length."""
    import h5py

    raw = value.encode("utf-8")
    return np.array(raw, dtype=h5py.string_dtype("utf-8", max(1, len(raw))))


def _set_attributes(item: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if isinstance(value, str):
            item.attrs[name] = _text(value)
        elif isinstance(value, int):
            item.attrs[name] = np.int64(value)
        else:
            item.attrs[name] = value
