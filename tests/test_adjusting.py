"""Where the constants of the classes go, and what they do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fleetseg.adjusting import adjust, class_bias, class_bias_or_none, with_class_bias
from fleetseg.compilation import read_network
from fleetseg.data import open_dataset
from fleetseg.errors import UsageError
from fleetseg.evaluation import evaluate
from fleetseg.models import build_network
from fleetseg.models.checkpoint import load_checkpoint, save_checkpoint, spec_of
from fleetseg.runtime import load


@pytest.mark.parametrize("name", ["enet", "enet-encoder", "erfnet", "segnet-basic", "deeplab-v2"])
def test_the_last_bias_is_found(name: str) -> None:
    options = {} if name.startswith(("enet", "erf")) else {"width": 0.1}
    network = build_network(name, 5, **options)
    assert with_class_bias(network) is network
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert class_bias(network).shape == (5,)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), f"{key} was moved by looking"


@pytest.mark.parametrize("name", ["espnet-a", "espnet-b", "espnet-c", "espnet"])
def test_espnet_gets_a_bias_and_answers_as_before(name: str) -> None:
    network = build_network(name, 5).eval()
    assert class_bias_or_none(network) is None
    wider = with_class_bias(network)
    assert wider.options == {**network.options, "class_bias": True}
    image = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(wider(image), network(image))
        class_bias(wider).add_(torch.arange(5.0))
        moved = wider(image) - network(image)
    torch.testing.assert_close(moved, torch.arange(5.0)[None, :, None, None].expand_as(moved), atol=1e-5, rtol=0)
    assert sum(p.numel() for p in wider.parameters()) == sum(p.numel() for p in network.parameters()) + 5


def test_the_encoder_of_a_first_stage_fits_an_espnet_with_a_bias() -> None:
    encoder, whole = (
        build_network("espnet-c", 5, alpha3=8, class_bias=True),
        build_network("espnet", 5, class_bias=True),
    )
    whole.load_encoder(encoder)
    assert torch.equal(whole.state_dict()["encoder.classifier.weight"], encoder.state_dict()["classifier.weight"])


def test_networks_without_a_place_for_it() -> None:
    for network in (build_network("enet", 5, bias=False), build_network("fcn-8s", 5, width=0.1)):
        with pytest.raises(UsageError, match=f"the last layer of '{network.registered_name}' has no bias"):
            with_class_bias(network)


@pytest.mark.parametrize("packaged", ["enet-camvid", "espnet-camvid"])
def test_a_network_that_sees_too_much_of_a_class(packaged: str, tmp_path: Path) -> None:
    network, metadata = read_network(packaged)
    wrong = with_class_bias(network)
    with torch.no_grad():
        class_bias(wrong)[metadata.classes.index("Pole")] += 2.5
    path, out = tmp_path / "wrong.safetensors", tmp_path / "right.safetensors"
    save_checkpoint(path, wrong, metadata.model_copy(update={"network": spec_of(wrong)}))
    scenes = open_dataset("scenes:2", "train")
    found = adjust(str(path), load(path), scenes, out)
    assert found.shifts["Pole"] == min(found.shifts.values()) < -1
    assert found.miou_after > found.miou_before + 0.01
    assert found.images == 2 and found.pixels == sum(int((scenes[i].mask != 255).sum()) for i in range(2))
    adjusted, told = load_checkpoint(out)
    assert told.provenance["adjusted_on"]["shifts"] == found.shifts and "val_miou" not in told.provenance
    moved = class_bias(adjusted) - class_bias(wrong)
    np.testing.assert_allclose(moved.detach().numpy(), list(found.shifts.values()), atol=1e-4)
    # All pixels were drawn, so the report's figure is the evaluation's.
    assert evaluate(load(out), scenes, metadata.classes).scores.miou == pytest.approx(found.miou_after, abs=1e-4)
