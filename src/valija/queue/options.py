"""The bounds of a worker's queue."""

import msgspec


class SchedulerOptions(msgspec.Struct, frozen=True):
    """Bounds: attempts and octets of content in memory, jobs that run at once, and those of them to one next hop."""

    window_messages: int = 4000
    window_octets: int = 64 * 1024 * 1024
    running_jobs: int = 400
    destination_jobs: int = 20
