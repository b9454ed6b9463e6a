"""Making a dataset file from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from sciml.dataset_content import Place, Values, prepare
from sciml.dataset_writer import write_file
from sciml.schema import Field, Provenance

if TYPE_CHECKING:
    from sciml.dataset import Dataset


def write_dataset(
    path: str | Path,
    *,
    grid: Place,
    fields: Sequence[tuple[Field, Values]],
    split: ArrayLike,
    times: ArrayLike | None = None,
    variables: Mapping[str, ArrayLike] | None = None,
    attributes: Mapping[str, Any] | None = None,
    provenance: Provenance | None = None,
) -> Dataset:
    """Write a dataset file and open it.

    The file appears under its name only after it was written, synced, read back and compared with the
    checksums. Equal content gives equal bytes.

    Parameters
    ----------
    path : str or Path
    grid : Grid, Points or Mesh, or a sequence of Points or of Meshes
        Where the values live: one for all samples, or one for each sample.
    fields : sequence of (Field, values)
        On a grid an array in memory order, (sample, [time,] [component,] *space); (sample,) for a parameter.
        On points or a mesh that all samples share (sample, [time,] point[, component]); where each sample has
        its own, a sequence of arrays ([time,] point[, component]).  With ``Field(on="cells")`` the cells take
        the place of the points.  With ``Field(on="own")`` a `PointSet` of values and coordinates for each
        sample, or one for all, whose values begin with a sample axis.  Stored in their type, except that
        truth values become int8 and parameters float64.
    split : (sample,) integers
        0 train, 1 valid, 2 test.
    times : (time,) increasing, optional
    variables : mapping, optional
        One number per sample: ``sample_seed``, ``status`` (0 ok, 1 regenerated, 2 suspect),
        ``discretization_error``; any other name is a parameter without unit.
    attributes : mapping, optional
        Further root attributes; entries named as those of `Provenance` replace them.
    provenance : Provenance, optional

    Raises
    ------
    DataError
        For anything that does not fit, and for NaN or infinity.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sciml.grid import Grid
    >>> from sciml.mesh import Mesh, PointSet
    >>> folder = tempfile.TemporaryDirectory()
    >>> u = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    >>> fields = [(Field("u", "output"), u)]
    >>> data = write_dataset(folder.name + "/u.h5", grid=Grid.box((4,)), fields=fields, split=[0, 0, 2])
    >>> data.train.tensor(["u"]).shape
    torch.Size([2, 1, 4])

    A mesh for each of two samples, with a temperature at the points, a conductivity in the cells, a heat
    flux known at points of its own, and the outer temperature, one number:

    >>> small = Mesh([[0, 0], [1, 0], [0, 1]], cells={"triangle": [[0, 1, 2]]}, units="m")
    >>> large = Mesh([[0, 0], [2, 0], [2, 1], [0, 1]], cells={"triangle": [[0, 1, 2], [0, 2, 3]]}, units="m")
    >>> flux = [PointSet([1.0, 2.0], [[0.0, 0.5], [0.0, 1.0]]), PointSet([3.0], [[2.0, 0.5]])]
    >>> fields = [
    ...     (Field("temperature", "output", units="K"), [np.ones(3), np.ones(4)]),
    ...     (Field("conductivity", "coefficient", units="W/(m K)", on="cells"), [np.ones(1), np.ones(2)]),
    ...     (Field("flux", "input", units="W/m2", on="own"), flux),
    ...     (Field("outside", "parameter", units="K"), [280.0, 290.0]),
    ... ]
    >>> data = write_dataset(folder.name + "/heat.h5", grid=[small, large], fields=fields, split=[0, 0])
    >>> data.tensor("temperature").shape, data.mask().sum(1).tolist()  # filled up to the larger mesh
    (torch.Size([2, 4, 1]), [3, 4])
    >>> data.arrays("flux")[1].tolist(), len(data.mesh(1))
    ([3.0], 4)
    >>> folder.cleanup()
    """
    from sciml.dataset import Dataset

    content = prepare(
        grid,
        fields,
        split,
        times=times,
        variables=variables or {},
        attributes=attributes or {},
        provenance=provenance or Provenance(),
    )
    target = Path(path).absolute()
    write_file(target, content)
    return Dataset(target)
