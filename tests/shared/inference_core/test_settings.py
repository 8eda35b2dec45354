"""Settings come from the environment; a bad one is refused with its key and value."""

from dataclasses import fields
from pathlib import Path

import pytest
from inference_core.errors import SettingsError
from inference_core.settings import Settings, read_settings

SAMPLE = Path(__file__).resolve().parents[3] / ".env.sample"


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()


def test_each_kind_of_value_is_parsed() -> None:
    settings = read_settings(
        {
            "INFERENCE_MODELS_DIR": "elsewhere",
            "INFERENCE_MODELS": "a, b,",
            "INFERENCE_THREADS": "3",
            "INFERENCE_ALLOW_CPU": "true",
            "INFERENCE_FAULT_DELAY_S": "0.5",
            "UNRELATED": "x",
        }
    )
    assert settings == Settings(
        models_dir=Path("elsewhere"), models=("a", "b"), threads=3, allow_cpu=True, fault_delay_s=0.5
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INFERENCE_THREADS", "two"),
        ("INFERENCE_THREADS", "-1"),
        ("INFERENCE_SLOTS", "0"),
        ("INFERENCE_ALLOW_CPU", "maybe"),
        ("INFERENCE_FAULT_DELAY_S", "nan"),
        ("INFERENCE_FAULT_DELAY_S", "inf"),
    ],
)
def test_a_bad_value_is_refused_with_key_and_value(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{key}='{value}'"):
        read_settings({key: value})


def test_the_sample_file_lists_every_setting_once() -> None:
    lines = [line.lstrip("# ") for line in SAMPLE.read_text().splitlines()]
    keys = [line.split("=")[0] for line in lines if "=" in line]
    for field in fields(Settings):
        assert keys.count(f"INFERENCE_{field.name.upper()}") == 1
