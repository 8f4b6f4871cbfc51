"""What the commands of run control take (docs/wire.md, "Control")."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class StartArgs(BaseModel):
    """Arguments of `start`; limits of 0 are none. `chip`: what this run wants otherwise than `[chip]` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: int | None = Field(default=None, ge=1, lt=1_000_000_000)
    comment: str = Field(default="", max_length=10_000)
    duration_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    readouts: int = Field(default=0, ge=0)
    chip: dict[str, Any] = {}


class NoArgs(BaseModel):
    """Arguments of all other commands."""

    model_config = ConfigDict(extra="forbid", frozen=True)
