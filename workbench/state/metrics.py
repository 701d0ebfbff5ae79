"""Sends a run's figures to DogStatsD. Tags stay few: no run id ever becomes a tag. Without an agent nothing is lost
but the metrics, and nothing waits: each is one UDP datagram.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datadog.dogstatsd.base import DogStatsd

from workbench.stage.artefacts import Counted, Manifest
from workbench.stage.pipeline import PIPELINE


@dataclass(frozen=True)
class Metrics:
    """The metrics of the workbench, by their names; one method per thing that happens."""

    client: DogStatsd

    def run_ended(self, figures: Mapping[str, Any], waiting: Mapping[str, int]) -> None:
        """Send what a row of the view `key_figures` says about a run that has ended, and what waits: events for the
        broker, publications for readers.
        """
        self.client.increment("pipeline.runs", tags=[f"status:{figures['status']}"])
        if figures["total_seconds"] is not None:  # else it ended before it had begun
            self.client.distribution("pipeline.duration", float(figures["total_seconds"]))
        if figures["success_rate"] is not None:
            self.client.gauge("pipeline.success_rate", float(figures["success_rate"]))
        self.client.gauge("pipeline.outbox_pending", waiting["events"])
        self.client.gauge("pipeline.publications_pending", waiting["publications"])

    def stage_completed(self, stage: str, seconds: float, manifest: Manifest) -> None:
        """Send a stage's seconds, records, rejects by reason, and seconds of each dbt model."""
        counts, details = manifest.counts, manifest.details
        self.client.distribution("pipeline.stage.duration", seconds, tags=[f"stage:{stage}"])
        records = max((value for name, value in counts.items() if name != PIPELINE.rejects.count), default=0)
        self.client.increment("pipeline.records_processed", records, tags=[f"stage:{stage}"])
        self._rejects(details)
        for model in details.get("models", []):
            tags = [f"model:{model['name']}", f"status:{model['status']}"]
            self.client.distribution("dbt.model.duration", model["seconds"], tags=tags)

    def stage_failed(self, stage: str, error_type: str, counted: Counted) -> None:
        """Count a failed attempt by the class of its error, and the rejects that it had counted by then."""
        self.client.increment("pipeline.errors", tags=[f"stage:{stage}", f"error_type:{error_type}"])
        self._rejects(counted.details)

    def _rejects(self, details: Mapping[str, Any]) -> None:
        for reason, count in details.get("rejects_by_reason", {}).items():
            self.client.increment("pipeline.records_rejected", count, tags=[f"reason:{reason}"])
