"""What all ways to speak some texts have in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Texts spoken once."""

    audio_s: float
    """Without silence between sentences."""
    seconds: float
    """That it took."""

    @property
    def rate(self) -> float:
        """Seconds of audio a second."""
        return self.audio_s / self.seconds
