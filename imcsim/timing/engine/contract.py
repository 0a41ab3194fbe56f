"""The contract of every engine: tasks over resources, in integer picoseconds.

A *job* is what one phase of a plan becomes: resources, and operations made of vectors that pass through stages.

Rules, which the ticking model in the tests spells out most plainly:

1. An operation has ``n_vectors`` vectors per image (or once per phase, for writes), numbered image by image.
   A vector is *admitted* when its predecessor of the same operation has been admitted, when every edge has delivered
   (the producer's vectors 0 .. needs[v]-1 of the same image have all completed), and when its output buffer has room
   (admitted minus released vectors is below ``capacity``). Admission reserves the room and requests stage 0.
2. Stage ``s`` of a vector is granted one unit of its resource. The unit is held for ``hold_ps``; the vector requests
   the next stage, or completes, ``latency_ps`` after the grant. The two are independent: a pipelined array accepts the
   next vector before the result is out; a link passes the header on before the tail has left.
3. A producer's vector is *released* when every edge from it allows that: the consumer's vectors 0 .. v of an image
   having left their first stage forget the first frees[v] vectors of that image; all images before are forgotten
   when the last vector of theirs has left. Vectors of an operation without consumers are released at completion.
   "Left" and "completed" count unbroken prefixes, so a vector that overtakes releases nothing early.
4. Time advances from event to event. At one instant: first everything that is due is delivered (units returned, vectors
   that finished a stage, completions, releases, admissions, until nothing more follows), then all resources
   grant, each to its waiting vectors in the order (round of request, operation, image, vector, stage). That is one
   *round*; latencies of zero make further rounds at the same instant.
5. Resources without limit (``UNLIMITED``) grant whatever waits in each round. Where capacity is limited, ``hold_ps`` is
   positive.
6. The critical path is walked back from the last completion (of equals, that of the highest operation, then vector).
   What enabled a grant: where the vector waited for its resource, the task whose returned unit it got (units are taken
   in the order of return, then operation, vector, stage); else the previous stage; at stage 0 the event that made it
   admissible last: of equals, a completion before a release, in the order of the edges, before the admission of the
   vector before it, which is then followed on. A prefix is made complete by the last of its latest vectors. The time
   between two grants goes to the earlier task.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imcsim.timing.engine.resource_kind import ResourceKind

UNLIMITED = np.iinfo(np.int64).max

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Resource:
    """Something that operations wait for: ``capacity`` units, granted first come, first served."""

    name: str  # unique, such as 'bus[3]', 'crossbars[conv1]', 'link[3>4]', 'dram'
    kind: ResourceKind
    capacity: int


@dataclass(frozen=True)
class Stage:
    """One step of a vector. Numbers, or arrays of shape (n_vectors,) int64 where each vector has its own."""

    resource: int
    hold_ps: int | Ints
    latency_ps: int | Ints


@dataclass(frozen=True)
class Edge:
    """Data from a producer of the same job. ``needs``, ``frees``: (n_vectors of the consumer,) int64, non-decreasing.

    ``needs[v]`` of the producer's vectors must have completed before consumer vector v is admitted (0: no condition);
    ``frees[v]`` of them are forgotten once consumer vectors 0..v have left their first stage (frees <= needs).
    """

    producer: int
    needs: Ints
    frees: Ints


@dataclass(frozen=True)
class JobOp:
    """An operation as the engine sees it."""

    name: str
    layer: str
    n_vectors: int
    stages: tuple[Stage, ...]
    edges: tuple[Edge, ...] = ()
    capacity: int = UNLIMITED  # vectors of its output that may be admitted and not yet released
    per_image: bool = True  # False: once per phase, whatever the batch; edges only among such operations
    # (component, action) -> amount of all its vectors, one image
    actions: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One phase, ready to run. Edges go from lower to higher indices."""

    name: str
    resources: tuple[Resource, ...]
    operations: tuple[JobOp, ...]


@dataclass(frozen=True)
class OpTimes:
    """When the vectors of one operation were served.

    ``start_ps``: (n_stages, n_images, n_vectors) int64, the grants (n_images is 1 for once-per-phase operations).
    ``end_ps``: (n_images, n_vectors) int64, the completions.
    """

    start_ps: Ints
    end_ps: Ints


@dataclass(frozen=True)
class JobResult:
    """What happened in a job of ``n_images`` images.

    Times count from the job's start. ``times`` covers only the ``n_simulated`` images that were simulated; where that
    is fewer than ``n_images`` the rest repeated a proven period, and every total below covers all ``n_images``.
    """

    n_images: int
    n_simulated: int
    makespan_ps: int
    first_image_ps: int  # completion of image 0 (of everything, where no operation is per image)
    times: tuple[OpTimes, ...]
    busy_ps: Ints  # (n_resources,) unit-picoseconds held
    queued_ps: Ints  # (n_operations, max_stages) sum over vectors of grant minus request
    starved_ps: Ints  # (n_operations,) time in which the next vector had room and waited for inputs
    blocked_ps: Ints  # (n_operations,) time in which the next vector had its inputs and waited for room
    critical_ps: Ints  # (n_operations, max_stages) share of the critical path; sums to makespan_ps


def check(job: Job) -> None:
    """Refuse a job that breaks the contract; every engine calls it first. Raises ValueError naming the place."""
    for index, op in enumerate(job.operations):
        if op.n_vectors < 1 or not op.stages or op.capacity < 1:
            raise ValueError(f"{op.name}: an operation has at least one vector, one stage and room for one vector")
        for stage in op.stages:
            _check_stage(job, op, stage)
        for edge in op.edges:
            _check_edge(job, index, edge)


def _check_stage(job: Job, op: JobOp, stage: Stage) -> None:
    if not 0 <= stage.resource < len(job.resources):
        raise ValueError(f"{op.name}: no resource {stage.resource}")
    resource = job.resources[stage.resource]
    where = f"{op.name} on {resource.name}"
    for times_ps in (stage.hold_ps, stage.latency_ps):
        if np.ndim(times_ps) and np.shape(times_ps) != (op.n_vectors,):
            raise ValueError(f"{where}: times of shape {np.shape(times_ps)}, not ({op.n_vectors},)")
    if resource.capacity < 1 or np.min(stage.hold_ps) < 0 or np.min(stage.latency_ps) < 0:
        raise ValueError(f"{where}: negative time, or a resource without units")
    if resource.capacity != UNLIMITED and np.min(stage.hold_ps) == 0:
        raise ValueError(f"{where}: a limited resource must be held for more than 0 ps")


def _check_edge(job: Job, consumer: int, edge: Edge) -> None:
    op = job.operations[consumer]
    if not 0 <= edge.producer < consumer:
        raise ValueError(f"{op.name}: edge from operation {edge.producer}, but edges go from lower to higher indices")
    producer = job.operations[edge.producer]
    where = f"edge {producer.name} > {op.name}"
    if op.per_image != producer.per_image:
        raise ValueError(f"{where}: one happens once per phase, the other for every image")
    if edge.needs.shape != (op.n_vectors,) or edge.frees.shape != (op.n_vectors,):
        raise ValueError(f"{where}: needs and frees must have shape ({op.n_vectors},)")
    if (np.diff(edge.needs) < 0).any() or (np.diff(edge.frees) < 0).any():
        raise ValueError(f"{where}: needs and frees must not decrease")
    if edge.frees[0] < 0 or (edge.frees > edge.needs).any() or edge.needs[-1] > producer.n_vectors:
        raise ValueError(f"{where}: frees <= needs <= {producer.n_vectors} is violated")
