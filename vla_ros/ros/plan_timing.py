"""Where the time of one plan went, as the policy publishes it on `~/timing`."""

from __future__ import annotations

from dataclasses import dataclass

from vla_ros.core.types import Observation


@dataclass(frozen=True, slots=True)
class Job:
    """An observation to plan from, when it was complete [ns], and how long its last image took to decode [ms].

    era: how often everything had begun anew before; what is inferred across such a moment is of no use.
    """

    observation: Observation
    complete_ns: int
    decode_ms: float
    era: int


@dataclass(frozen=True, slots=True)
class PlanTiming:
    """The moments [ns] of one plan: inference began, a draft was there, a chunk was chosen, and it was sent."""

    job: Job
    started_ns: int
    drafted_ns: int
    chosen_ns: int
    sent_ns: int

    @property
    def inference_ns(self) -> int:
        """How long the draft took [ns]."""
        return self.drafted_ns - self.started_ns

    def values(self) -> dict[str, object]:
        """Return the times [ms], each from the end of the one before; `published_ms` is the whole."""
        stamp_ns = self.job.observation.stamp_ns
        spans_ns = {
            "received_ms": self.job.complete_ns - stamp_ns,
            "wait_ms": self.started_ns - self.job.complete_ns,
            "inference_ms": self.inference_ns,
            "choice_ms": self.chosen_ns - self.drafted_ns,
            "published_ms": self.sent_ns - stamp_ns,
        }
        spans_ms = {name: span_ns / 1e6 for name, span_ns in spans_ns.items()}
        return {"stamp_ns": stamp_ns, **spans_ms, "decode_ms": self.job.decode_ms}
