"""What doctor says of the model's cache: that of the service, not that of whoever asks."""

from __future__ import annotations

from ocrwatch.correction.store import PULL
from ocrwatch.doctor.model import for_service
from ocrwatch.doctor.unit import Unit

SHOWN = {"User": "ocrwatch", "Environment": 'HF_HOME=/var/cache/ocrwatch/huggingface GGML_NO_BACKTRACE=1 "NAME=a b"'}


def test_the_environment_of_the_unit_as_systemctl_shows_it() -> None:
    assert Unit(SHOWN).environment == {
        "HF_HOME": "/var/cache/ocrwatch/huggingface",
        "GGML_NO_BACKTRACE": "1",
        "NAME": "a b",
    }
    assert Unit({}).environment == {}


def test_a_model_is_fetched_as_the_user_of_the_service_to_where_that_looks() -> None:
    """Fetched by root it would lie below /root, where the service never looks."""
    assert (
        for_service(PULL, Unit(SHOWN)) == "run: sudo -u ocrwatch env HF_HOME=/var/cache/ocrwatch/huggingface ocrwatch model pull"
    )


def test_without_a_unit_or_a_user_of_its_own_the_command_stays() -> None:
    assert for_service(PULL, None) == PULL
    assert for_service(PULL, Unit({"User": "ocrwatch"})) == PULL
    assert for_service(PULL, Unit({**SHOWN, "DynamicUser": "yes"})) == PULL
