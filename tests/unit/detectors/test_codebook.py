import pickle

import pytest
import torch
from anomalib.models.image.dsr.torch_model import DiscreteLatentModel, DsrModel, Residual, VectorQuantizer

from training_code.detectors.dsr import codebook
from training_code.detectors.dsr.codebook import (
    Quantizer,
    TrainableResidual,
    check_codebook,
    in_batches,
    perplexity,
    read_codebook,
    save_codebook,
    train_codebook,
)
from training_code.detectors.dsr.model import DsrModel as OurDsrModel
from training_code.foundation.errors import InputError


def _model(num_embeddings=16):
    torch.manual_seed(0)
    return OurDsrModel(0.2, 8, num_embeddings, width=0.125).discrete_latent_model


def _images(count=8, side=64):
    """Waves of several lengths and directions."""
    generator = torch.Generator().manual_seed(1)
    steps = torch.arange(side) / side
    phase = torch.rand(count, 3, 1, 1, generator=generator) * 6
    slope = torch.randint(1, 6, (count, 2, 1, 1), generator=generator) * 6.28
    return 0.5 + 0.4 * torch.sin(slope[:, :1] * steps[:, None] + slope[:, 1:] * steps + phase)


def test_looking_codes_up_gives_anomalibs_numbers():
    torch.manual_seed(0)
    theirs = VectorQuantizer(32, 8)
    own = Quantizer(32, 8)
    own.load_state_dict(theirs.state_dict())
    maps = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(own(maps), theirs(maps), rtol=0, atol=1e-6)
    assert own.indices.shape == (60,)


def test_the_trainable_residual_gives_anomalibs_numbers_and_has_gradients():
    torch.manual_seed(0)
    theirs, maps = Residual(6, 6, 4), torch.randn(2, 6, 5, 5)
    own = TrainableResidual(6, 6, 4)
    own.load_state_dict(theirs.state_dict())
    assert torch.equal(own(maps.clone()), theirs(maps.clone()))
    given = torch.relu(maps.clone().requires_grad_())
    own(given).sum().backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        theirs(torch.relu(maps.clone().requires_grad_())).sum().backward()


def test_codes_follow_the_mean_of_their_vectors():
    quantizer = Quantizer(2, 1)
    vectors = torch.tensor([[0.0], [0.2], [10.0], [10.4]])
    quantizer.start(vectors[[0, 2]])
    for _ in range(2000):
        quantizer.indices = quantizer.nearest(vectors)
        counts = quantizer.follow(vectors)
    assert counts.tolist() == [2, 2]
    torch.testing.assert_close(quantizer.embedding.weight.sort(0).values, torch.tensor([[0.1], [10.2]]))


def test_an_unused_code_restarts_at_a_vector():
    torch.manual_seed(0)
    quantizer = Quantizer(3, 1)
    vectors = torch.tensor([[1.0], [2.0], [3.0], [4.0]] * 5)
    quantizer.start(torch.tensor([[1.0], [4.0], [1000.0]]))
    quantizer.indices = quantizer.nearest(vectors)
    counts = quantizer.follow(vectors)
    dead = int(counts.argmin())
    assert sorted(counts.tolist()) == [0, 10, 10] and quantizer.embedding.weight[dead].item() == 1000
    quantizer.revive(counts, vectors)
    assert quantizer.embedding.weight[dead].item() in vectors
    assert sorted(quantizer.nearest(torch.tensor([[0.0], [9.0]])).tolist()) != [dead, dead], (
        "the others are as they were"
    )


def test_perplexity_is_the_number_of_codes_in_even_use():
    assert perplexity(torch.tensor([5, 5, 5, 5, 0])) == pytest.approx(4)
    assert perplexity(torch.tensor([9, 0])) == pytest.approx(1)


def test_phase_1_reconstructs_better_with_every_epoch_and_uses_more_codes():
    images, model = _images(), _model()
    order = in_batches(len(images), 4, 0)
    history = train_codebook(model, lambda epoch: (images[batch] for batch in order(epoch)), 40, 0, lr=1e-3)
    assert len(history.reconstruction) == 40
    assert history.reconstruction[-1] < 0.5 * history.reconstruction[0]
    # The first epoch begins with codes taken from the vectors of an untrained encoder, which are all over the place.
    for values in (history.perplexity_top, history.perplexity_bottom):
        assert sum(values[-10:]) > 1.2 * sum(values[1:11])
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_phase_1_that_was_killed_resumes_where_it_was(tmp_path):
    images = _images(4)
    order = in_batches(len(images), 2, 0)

    def batches(epoch, until=99):
        if epoch == until:
            raise KeyboardInterrupt
        return (images[batch] for batch in order(epoch))

    whole = _model()
    expected = train_codebook(whole, batches, 4, 7)
    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        train_codebook(_model(), lambda epoch: batches(epoch, until=2), 4, 7, state=state)
    resumed = _model()
    assert train_codebook(resumed, batches, 4, 7, state=state) == expected
    assert not state.exists()
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=1e-6)


def test_anomalib_reads_what_was_written(tmp_path):
    torch.manual_seed(0)
    own = OurDsrModel(0.2, 8, 16)
    save_codebook(own.discrete_latent_model, tmp_path / "book.pckl")
    theirs = DsrModel(embedding_dim=8, num_embeddings=16)
    theirs.load_pretrained_discrete_model_weights(tmp_path / "book.pckl")
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(
        theirs.discrete_latent_model(images)["recon_image"], own.discrete_latent_model(images)["recon_image"]
    )


class _Command:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_file_that_is_no_codebook_is_one_sentence_and_nothing_in_it_runs(tmp_path, capsys):
    with pytest.raises(InputError, match="there is no codebook"):
        read_codebook(tmp_path / "nowhere.pckl")
    bad = tmp_path / "bad.pckl"
    bad.write_bytes(pickle.dumps(_Command()))
    with pytest.raises(InputError, match="is no codebook that can be read as tensors alone"):
        read_codebook(bad)
    torch.save(_Command(), bad)
    with pytest.raises(InputError, match="is no codebook that can be read as tensors alone"):
        read_codebook(bad)
    torch.save({"a": 1}, bad)
    with pytest.raises(InputError, match="something else than named tensors"):
        read_codebook(bad)
    assert "executed" not in capsys.readouterr().out
    save_codebook(_model(32), bad)
    with pytest.raises(InputError, match=r"bad.pckl does not fit: _vq_vae_bot._ema_cluster_size is \(32,\) .* \(16,\)"):
        check_codebook(read_codebook(bad), _model(16), bad)


def test_divergence_is_an_error(monkeypatch):
    monkeypatch.setattr(codebook.F, "mse_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(FloatingPointError, match="phase 1 of DSR diverged in epoch 1"):
        train_codebook(_model(), lambda epoch: [_images(2)], 1, 0)


def test_the_model_is_anomalibs():
    assert isinstance(_model(), DiscreteLatentModel)
