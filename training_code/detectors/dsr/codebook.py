"""Phase 1 of DSR: training the encoders, the codebooks and the general decoder on any images.

Razavi et al., "Generating Diverse High-Fidelity Images with VQ-VAE-2", 2019: codebooks follow the vectors that they
stand for by exponential moving averages (van den Oord et al., "Neural Discrete Representation Learning", 2017, appendix
A.1), the rest is trained to reconstruct the images.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from anomalib.models.image.dsr.torch_model import DiscreteLatentModel, Residual, VectorQuantizer
from torch.nn import functional as F
from tqdm import tqdm

from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path, derived_seed

SUFFIX = ".pckl"
#: Decay of the moving averages, and weight of the commitment loss: both of van den Oord et al.
DECAY, COMMITMENT = 0.99, 0.25
#: A code that stood for less than this part of an even share of the vectors of an epoch restarts at one of them.
DEAD = 0.1
# Tensors of a backbone in place of the encoder; see `training_code.detectors.dsr.model`.
_FROZEN = ("_encoder_b.extractor.", "_encoder_b.mean", "_encoder_b.std")
# Vectors whose distances to all codes are in memory at once.
_AT_ONCE = 8192


class Quantizer(VectorQuantizer):
    """anomalib's `VectorQuantizer` by looking codes up, without a matrix of vectors times codes of zeros and ones.

    Attributes
    ----------
    indices
        Codes of the vectors that were looked up last.
    """

    _ema_cluster_size: torch.Tensor

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the index of the nearest code for vectors of shape (n, embedding_dim)."""
        codes = self._embedding.weight
        squares = codes.square().sum(1)
        return torch.cat(
            [
                (part.square().sum(1, keepdim=True) + squares - 2 * part @ codes.T).argmin(1)
                for part in vectors.split(_AT_ONCE)
            ]
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes of maps of shape (batch, embedding_dim, height, width), in the same shape."""
        self.indices = self.nearest(flatten(inputs).detach())
        codes = self._embedding.weight[self.indices].view(-1, *inputs.shape[2:], inputs.shape[1])
        return inputs + (codes.permute(0, 3, 1, 2) - inputs).detach()

    @torch.no_grad()
    def start(self, vectors: torch.Tensor) -> None:
        """Take vectors of shape (n, embedding_dim) as codes; if there are too few, some are repeated with noise."""
        count = self._num_embeddings
        chosen = torch.randperm(len(vectors))[:count]
        more = torch.randint(len(vectors), (count - len(chosen),))
        codes = vectors[torch.cat([chosen, more]).to(vectors.device)]
        codes[len(chosen) :] += 0.01 * vectors.std() * torch.randn(len(more), codes.shape[1]).to(codes)
        self._embedding.weight.copy_(codes)
        self._ema_cluster_size.fill_(len(vectors) / count)
        self._ema_w.copy_(codes * len(vectors) / count)

    @torch.no_grad()
    def follow(self, vectors: torch.Tensor) -> torch.Tensor:
        """Move the codes toward the vectors that were just looked up; return how many each of them stands for."""
        counts = torch.bincount(self.indices, minlength=self._num_embeddings).to(vectors)
        sums = torch.zeros_like(self._ema_w).index_add_(0, self.indices, vectors)
        self._ema_cluster_size.mul_(DECAY).add_(counts, alpha=1 - DECAY)
        self._ema_w.mul_(DECAY).add_(sums, alpha=1 - DECAY)
        alive = self._ema_cluster_size > 0
        self._embedding.weight[alive] = self._ema_w[alive] / self._ema_cluster_size[alive, None]
        return counts

    @torch.no_grad()
    def revive(self, counts: torch.Tensor, vectors: torch.Tensor) -> None:
        """Have codes that stand for nearly nothing by the ``counts`` of an epoch restart at some of ``vectors``."""
        dead = (counts < DEAD * counts.sum() / self._num_embeddings).nonzero().flatten()
        if len(dead):
            share = len(vectors) / self._num_embeddings
            codes = vectors[torch.randint(len(vectors), (len(dead),)).to(vectors.device)]
            self._ema_cluster_size[dead] = share
            self._ema_w[dead] = codes * share
            self._embedding.weight[dead] = codes


class TrainableResidual(Residual):
    """anomalib's `Residual` with its numbers, through which gradients flow.

    anomalib's overwrites its input by its first activation, so that the input that it adds is the activated one; where
    that input is itself an activation, torch cannot find its gradient any more.
    """

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return maps of the shape of ``batch``, (batch, channels, height, width)."""
        activated = F.relu(batch)
        return activated + self._block[1:](activated)


@dataclass
class History:
    """What phase 1 achieved in each epoch."""

    reconstruction: list[float] = field(default_factory=list)  # mean squared error of the images
    perplexity_top: list[float] = field(default_factory=list)  # codes that are in use, by the entropy of their use
    perplexity_bottom: list[float] = field(default_factory=list)


def train_codebook(
    model: DiscreteLatentModel,
    batches: Callable[[int], Iterable[torch.Tensor]],
    epochs: int,
    seed: int,
    lr: float = 2e-4,
    state: Path | None = None,
) -> History:
    """Train encoders, codebooks and general decoder to reconstruct images.

    Parameters
    ----------
    model
        With quantizers of this module; only its parameters that need gradients are trained, by Adam.
    batches
        Gives for an epoch, counted from 0, its images, of shape (batch, 3, height, width), from 0 to 1.
    epochs
        How often to go through the images.
    seed
        Seed of everything that is drawn at random.
    state
        File that keeps the state after each epoch: training that was killed resumes from it. Removed at the end.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    top, bottom = model.vq_vae_top, model.vq_vae_bot
    assert isinstance(top, Quantizer) and isinstance(bottom, Quantizer)
    quantizers = {"top": top, "bottom": bottom}
    trained = [parameter for name, parameter in model.named_parameters() if not name.startswith(("_vq_vae", *_FROZEN))]
    for parameter in trained:
        parameter.requires_grad_()
    device = trained[0].device
    optimizer = torch.optim.Adam(trained, lr=lr)
    history = History()
    if state is not None and (saved := _read_state(state)):
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history = History(**saved["history"])
    model.train()
    inputs: dict[str, torch.Tensor] = {}
    hooks = [
        quantizer.register_forward_pre_hook(lambda _, given, name=name: inputs.__setitem__(name, given[0]))
        for name, quantizer in quantizers.items()
    ]
    begun = len(history.reconstruction)
    progress = tqdm(range(begun, epochs), "codebook", initial=begun, total=epochs, unit="epoch", disable=None)
    for epoch in progress:
        torch.manual_seed(derived_seed(seed, "codebook", epoch))
        used = {name: torch.zeros((), device=device) for name in quantizers}
        errors, images = 0.0, 0
        for index, batch in enumerate(batches(epoch)):
            batch = batch.to(device)
            if epoch == index == 0:
                for name, quantizer in quantizers.items():  # the lower one sees the codes of the upper one
                    with torch.no_grad():
                        model(batch)
                    quantizer.start(flatten(inputs[name]))
            reconstruction = model(batch)["recon_image"]
            error = F.mse_loss(reconstruction, batch)
            vectors = {name: flatten(inputs[name]) for name in quantizers}
            commitment = torch.zeros((), device=device)
            for name, quantizer in quantizers.items():
                codes = quantizer._embedding.weight[quantizer.indices]
                commitment = commitment + F.mse_loss(vectors[name], codes.detach())
            loss = error + COMMITMENT * commitment
            if not torch.isfinite(loss):
                raise FloatingPointError(f"phase 1 of DSR diverged in epoch {epoch + 1}: its loss is {float(loss)}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, quantizer in quantizers.items():
                used[name] = used[name] + quantizer.follow(vectors[name].detach())
            errors, images = errors + float(error.detach()) * len(batch), images + len(batch)
        for name, quantizer in quantizers.items():
            quantizer.revive(used[name], vectors[name].detach())
        history.reconstruction.append(errors / images)
        history.perplexity_top.append(perplexity(used["top"]))
        history.perplexity_bottom.append(perplexity(used["bottom"]))
        progress.set_postfix(error=f"{errors / images:.2g}", perplexity=f"{history.perplexity_bottom[-1]:.0f}")
        if state is not None:
            content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": vars(history)}
            with atomic_path(state) as temporary:
                torch.save(content, temporary)
    for hook in hooks:
        hook.remove()
    model.eval().requires_grad_(False)
    if state is not None:
        state.unlink(missing_ok=True)
    return history


def flatten(maps: torch.Tensor) -> torch.Tensor:
    """Return maps of shape (batch, channels, height, width) as vectors, of shape (positions, channels)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def perplexity(counts: torch.Tensor) -> float:
    """Return how many codes are in use, as the exponential of the entropy of their use."""
    shares = counts.double() / counts.sum()
    return math.exp(float(torch.special.entr(shares).sum()))


def save_codebook(model: DiscreteLatentModel, path: Path) -> None:
    """Write what anomalib's `load_pretrained_discrete_model_weights` reads: the state dict of the model, atomically."""
    with atomic_path(path) as temporary:
        torch.save({name: tensor.cpu() for name, tensor in model.state_dict().items()}, temporary)


def read_codebook(path: Path) -> dict[str, torch.Tensor]:
    """Read a codebook file as tensors only.

    Raises
    ------
    InputError
        If it is not there, is damaged, or holds anything else.
    """
    try:
        content = torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"there is no codebook {path}; train one with pretrain_codebook, or leave codebook out"
        ) from None
    except Exception as error:  # torch raises errors of many kinds for a file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is no codebook that can be read as tensors alone: {reason}") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(f"{path} is no codebook: it holds something else than named tensors")
    return content


def check_codebook(state: dict[str, torch.Tensor], model: DiscreteLatentModel, path: Path) -> None:
    """Raise an `InputError` if a codebook is not one for ``model``, or was trained on another backbone."""
    own = model.state_dict()
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (state, own)]
    if odd := sorted(name for name in own.keys() | state.keys() if shapes[0].get(name) != shapes[1].get(name)):
        in_file, in_network = (found.get(odd[0], "missing") for found in shapes)
        raise InputError(
            f"{path} does not fit: {odd[0]} is {in_file} in the file and {in_network} in the network, {len(odd)} "
            "tensors differ; embedding_dim, num_embeddings, width and backbone must be those that it was trained with"
        )
    for name, tensor in own.items():
        if name.startswith(_FROZEN) and not torch.equal(tensor, state[name].to(tensor)):
            raise InputError(f"{path} was trained on other weights of the backbone: {name} differs")


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        return torch.load(path, "cpu", weights_only=True)
    except Exception:  # there is none, or it cannot be used: training starts from the beginning
        return None


def in_batches(count: int, batch_size: int, seed: int) -> Callable[[int], Iterator[list[int]]]:
    """Return a function from an epoch to batches of the indices of ``count`` images, shuffled differently each time."""

    def batches(epoch: int) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
        order = torch.randperm(count, generator=generator).tolist()
        return (order[begin : begin + batch_size] for begin in range(0, count, batch_size))

    return batches
