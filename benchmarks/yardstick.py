"""A plain implementation of NCSR and SRFlow: what the package's speed is measured against, and a check of its numbers.

It computes the published networks' arithmetic the obvious way: float32, eager, default memory format, every subnet
convolves the concatenation of its inputs, one step after the other, and the encoder runs again for every sample. It
shares no code with the package, and its `state_dict` has the published key names. Its parameters always come from
outside (actnorm has no data-dependent start here).

Notation: h the flow variable, u the LR features of a level, n the noise at a level's resolution; image to latent is
`encode`, latent to image `decode`; log-determinants are (B,) in nats. LR sides must be even.

`python -m benchmarks.yardstick` measures it at full size on this machine.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import compare, machine
from tests.parity import load_rule_weights


class Yardstick(nn.Module):
    """The whole model.

    Args:
        scale: 4 or 8.
        blocks: RRDB blocks of the encoder.
        stacked_blocks: zero-based blocks whose outputs are stacked under every level's features.
        levels: L; resolution halves at each.
        steps: K conditional steps per level.
        noise_steps: per level, fine to coarse, how many of its last steps (image to latent) have the noise layer.
        condition: "noise" (the noise image), "std" (its standard deviation) or "none" (SRFlow).
        features: encoder channels.
        growth: channels that each convolution of a dense block adds.
        hidden: channels inside a subnet.
    """

    def __init__(
        self,
        scale: int,
        blocks: int,
        stacked_blocks: tuple[int, ...],
        levels: int,
        steps: int,
        noise_steps: tuple[int, ...],
        condition: str,
        features: int = 64,
        growth: int = 32,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.scale, self.levels, self.condition = scale, levels, condition
        self.RRDB = Encoder(scale, blocks, stacked_blocks, features, growth)
        self.flowUpsamplerNet = Flow(
            levels=levels,
            steps=steps,
            noise_steps=noise_steps,
            noise_channels={"noise": 3, "std": 1, "none": 0}[condition],
            u_channels=features * (1 + len(stacked_blocks)),
            hidden=hidden,
        )

    def rrdb_out(self, lr: Tensor) -> Tensor:
        """The encoder's own super-resolution of (B, 3, h, w): (B, 3, s h, s w)."""
        return self.RRDB.image(lr)

    def encode(self, hr: Tensor, lr: Tensor, noise: Tensor | None) -> tuple[list[Tensor], Tensor, Tensor]:
        """Image to latents.

        Args:
            hr: (B, 3, s h, s w).
            lr: (B, 3, h, w).
            noise: (B, 3, s h, s w), or (B,) standard deviations, or None for none.

        Returns:
            Latents, fine to coarse; log-determinants and split priors' log-densities (B,); bits per HR pixel (B,).
        """
        us = self.RRDB.pyramid(lr, self.levels)
        latents, logdet = self.flowUpsamplerNet.encode(hr, us, self._noise_pyramid(noise, hr))
        log_prob = logdet + log_normal(latents[-1], torch.zeros(()), torch.zeros(()))
        return latents, logdet, -log_prob / (math.log(2) * hr.shape[2] * hr.shape[3])

    def decode(self, latents: list[Tensor], lr: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents (fine to coarse) to the image and minus what `encode` calls its logdet; noise None is zero noise."""
        us = self.RRDB.pyramid(lr, self.levels)
        size = (lr.shape[0], 3, self.scale * lr.shape[2], self.scale * lr.shape[3])
        return self.flowUpsamplerNet.decode(latents, us, self._noise_pyramid(noise, lr.new_zeros(size)))

    @torch.no_grad()
    def sample(self, lr: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
        """One sample per LR image, clamped to [0, 1]; encoder and everything else run for it."""
        batch, _, height, width = lr.shape
        shapes = [(c, self.scale * height >> l, self.scale * width >> l) for c, l in self.flowUpsamplerNet.latents]
        latents = [temperature * torch.randn(batch, *shape, generator=generator) for shape in shapes]
        return self.decode(latents, lr)[0].clamp(0, 1)

    def _noise_pyramid(self, noise: Tensor | None, hr: Tensor) -> list[Tensor | None]:
        """The noise condition at every level's resolution, fine to coarse; `hr` gives the size."""
        if self.condition == "none":
            return [None] * self.levels
        batch, _, height, width = hr.shape
        sizes = [(height >> level, width >> level) for level in range(1, self.levels + 1)]
        if self.condition == "std":
            std = hr.new_zeros(batch) if noise is None else noise
            return [std[:, None, None, None].expand(batch, 1, *size) for size in sizes]
        image = torch.zeros_like(hr) if noise is None else noise
        return [F.interpolate(image, size=size, mode="bicubic", align_corners=False) for size in sizes]


def training_step(
    model: Yardstick,
    optimiser: torch.optim.Optimizer,
    hr: Tensor,
    lr: Tensor,
    noise: Tensor | None,
    max_norm: float,
) -> float:
    """One step of maximum likelihood with gradient clipping; returns the loss, mean bits per HR pixel."""
    optimiser.zero_grad(set_to_none=True)
    loss = model.encode(hr, lr, noise)[2].mean()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimiser.step()
    return loss.item()


def full_x4() -> Yardstick:
    """The published NCSR x4 network with deep rule parameters."""
    model = Yardstick(4, 23, (1, 8, 15, 22), levels=3, steps=16, noise_steps=(0, 16, 16), condition="noise")
    load_rule_weights(model, deep=True)
    return model


def unused(key: str, steps: int, noise_steps: tuple[int, ...]) -> bool:
    """Whether a published flow checkpoint holds this key though no forward pass uses it.

    These are all of `flowUpsamplerNet.f`, and the noise layer (`fAffine_std`) of steps that have none.
    """
    if key.startswith("flowUpsamplerNet.f."):
        return True
    if ".fAffine_std." not in key:
        return False
    index = int(key.split(".")[2])
    levels = len(noise_steps)
    for level, count in enumerate(noise_steps, start=1):
        if index < 3 + steps:  # squeeze, two transitions, the steps
            return index < 3 + steps - count
        index -= 3 + steps + (level < levels - 1)
    raise KeyError(key)


# Encoder


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def conv3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class DenseBlock(nn.Module):
    """Five convolutions, each of everything before it; the residual counts 0.2."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = conv3(features, growth)
        self.conv2 = conv3(features + growth, growth)
        self.conv3 = conv3(features + 2 * growth, growth)
        self.conv4 = conv3(features + 3 * growth, growth)
        self.conv5 = conv3(features + 4 * growth, features)

    def forward(self, x: Tensor) -> Tensor:
        x1 = leaky(self.conv1(x))
        x2 = leaky(self.conv2(torch.cat((x, x1), 1)))
        x3 = leaky(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = leaky(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        return x + 0.2 * self.conv5(torch.cat((x, x1, x2, x3, x4), 1))


class RRDB(nn.Module):
    """Three dense blocks; the residual counts 0.2."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.RDB1 = DenseBlock(features, growth)
        self.RDB2 = DenseBlock(features, growth)
        self.RDB3 = DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.RDB3(self.RDB2(self.RDB1(x)))


class Encoder(nn.Module):
    """The RRDB network; its trunk skip starts at the last block, not at the first convolution."""

    def __init__(self, scale: int, blocks: int, stacked_blocks: tuple[int, ...], features: int, growth: int) -> None:
        super().__init__()
        self.doublings, self.stacked_blocks = int(math.log2(scale)), stacked_blocks
        self.conv_first = conv3(3, features)
        self.RRDB_trunk = nn.ModuleList(RRDB(features, growth) for _ in range(blocks))
        self.trunk_conv = conv3(features, features)
        for k in range(1, self.doublings + 1):
            self.add_module(f"upconv{k}", conv3(features, features))
        self.HRconv = conv3(features, features)
        self.conv_last = conv3(features, 3)

    def image(self, lr: Tensor) -> Tensor:
        """(B, 3, s h, s w)."""
        x = self._trunk(lr)[0]
        for k in range(1, self.doublings + 1):
            x = self._double(x, k)
        return self.conv_last(leaky(self.HRconv(x)))

    def pyramid(self, lr: Tensor, levels: int) -> list[Tensor]:
        """u of every level, fine to coarse: the features at its resolution and the stacked blocks' outputs."""
        trunk, stack = self._trunk(lr)
        features = [F.interpolate(trunk, scale_factor=0.5, mode="bilinear", align_corners=False), trunk]
        for k in range(1, levels - 1):
            features.append(self._double(features[-1], k))
        return [torch.cat((f, F.interpolate(stack, size=f.shape[2:], mode="nearest")), 1) for f in reversed(features)]

    def _trunk(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        """Trunk output and the stacked blocks' outputs, at LR resolution."""
        x = self.conv_first(lr)
        outputs = []
        for block in self.RRDB_trunk:
            x = block(x)
            outputs.append(x)
        return x + self.trunk_conv(x), torch.cat([outputs[i] for i in self.stacked_blocks], 1)

    def _double(self, x: Tensor, k: int) -> Tensor:
        return leaky(self.get_submodule(f"upconv{k}")(F.interpolate(x, scale_factor=2, mode="nearest")))


# Flow


class Flow(nn.Module):
    """All layers in image-to-latent order: per level a squeeze, two transitions, the steps, perhaps a split."""

    def __init__(
        self, levels: int, steps: int, noise_steps: tuple[int, ...], noise_channels: int, u_channels: int, hidden: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.level_of: list[int] = []  # level (zero-based) of each layer
        self.latents: list[tuple[int, int]] = []  # channels and level (one-based) of each latent, fine to coarse
        channels = 3
        for level in range(levels):
            channels *= 4
            with_noise = [noise_channels if k >= steps - noise_steps[level] else 0 for k in range(steps)]
            layers += [Squeeze(), Transition(channels), Transition(channels)]
            layers += [Step(channels, u_channels, n, hidden) for n in with_noise]
            if level < levels - 2:
                layers.append(Split(channels))
                channels //= 2
                self.latents.append((channels, level + 1))
            self.level_of += [level] * (len(layers) - len(self.level_of))
        self.latents.append((channels, levels))
        self.layers = nn.ModuleList(layers)

    def encode(self, h: Tensor, us: list[Tensor], ns: list[Tensor | None]) -> tuple[list[Tensor], Tensor]:
        latents: list[Tensor] = []
        logdet = h.new_zeros(h.shape[0])
        for layer, level in zip(self.layers, self.level_of, strict=True):
            if isinstance(layer, Split):
                h, latent, change = layer.encode(h)
                latents.append(latent)
            else:
                h, change = layer.encode(h, us[level], ns[level])
            logdet = logdet + change
        return [*latents, h], logdet

    def decode(self, latents: list[Tensor], us: list[Tensor], ns: list[Tensor | None]) -> tuple[Tensor, Tensor]:
        *latents, h = latents
        logdet = h.new_zeros(h.shape[0])
        for layer, level in zip(reversed(self.layers), reversed(self.level_of), strict=True):
            if isinstance(layer, Split):
                h, change = layer.decode(h, latents.pop())
            else:
                h, change = layer.decode(h, us[level], ns[level])
            logdet = logdet + change
        return h, logdet


class Squeeze(nn.Module):
    def encode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        return F.pixel_unshuffle(h, 2), h.new_zeros(())

    def decode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        return F.pixel_shuffle(h, 2), h.new_zeros(())


class ActNorm(nn.Module):
    """h <- (h + b) exp(a) per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, h: Tensor) -> Tensor:
        return (h + self.bias) * self.logs.exp()

    def encode(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self(h), h.shape[2] * h.shape[3] * self.logs.sum()

    def decode(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return h * (-self.logs).exp() - self.bias, -h.shape[2] * h.shape[3] * self.logs.sum()


class InvertibleConv(nn.Module):
    """h <- W h at every pixel; the inverse is taken in float64."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels))

    def encode(self, h: Tensor) -> tuple[Tensor, Tensor]:
        logdet = h.shape[2] * h.shape[3] * torch.linalg.slogdet(self.weight)[1]
        return F.conv2d(h, self.weight[:, :, None, None]), logdet

    def decode(self, h: Tensor) -> tuple[Tensor, Tensor]:
        logdet = h.shape[2] * h.shape[3] * torch.linalg.slogdet(self.weight)[1]
        inverse = torch.linalg.inv(self.weight.double()).to(h.dtype)
        return F.conv2d(h, inverse[:, :, None, None]), -logdet


class Transition(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.invconv = InvertibleConv(channels)

    def encode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        h, norm_logdet = self.actnorm.encode(h)
        h, conv_logdet = self.invconv.encode(h)
        return h, norm_logdet + conv_logdet

    def decode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        h, conv_logdet = self.invconv.decode(h)
        h, norm_logdet = self.actnorm.decode(h)
        return h, conv_logdet + norm_logdet


class Step(Transition):
    """A conditional step: actnorm, 1x1 convolution, then the three affine maps of `Affine`."""

    def __init__(self, channels: int, u_channels: int, noise_channels: int, hidden: int) -> None:
        super().__init__(channels)
        self.affine = Affine(channels, u_channels, noise_channels, hidden)

    def encode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        h, logdet = super().encode(h, u, n)
        h, affine_logdet = self.affine.encode(h, u, n)
        return h, logdet + affine_logdet

    def decode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        h, affine_logdet = self.affine.decode(h, u, n)
        h, logdet = super().decode(h, u, n)
        return h, affine_logdet + logdet


class Affine(nn.Module):
    """Injector on all channels, then the noise layer (where the step has one) and the coupling on the second half."""

    def __init__(self, channels: int, u_channels: int, noise_channels: int, hidden: int) -> None:
        super().__init__()
        half = channels // 2
        self.has_noise = noise_channels > 0
        self.fFeatures = subnet(u_channels, hidden, 2 * channels)
        if self.has_noise:
            self.fAffine_std = subnet(half + noise_channels, hidden, channels)
        self.fAffine = subnet(half + u_channels, hidden, channels)

    def encode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, scale = shift_and_scale(self.fFeatures(u))
        h, logdet = (h + shift) * scale, log_sum(scale)
        h1, h2 = h.chunk(2, 1)
        if self.has_noise:
            shift, scale = shift_and_scale(self.fAffine_std(torch.cat((h1, n), 1)))
            h2, logdet = (h2 + shift) * scale, logdet + log_sum(scale)
        shift, scale = shift_and_scale(self.fAffine(torch.cat((h1, u), 1)))
        h2, logdet = (h2 + shift) * scale, logdet + log_sum(scale)
        return torch.cat((h1, h2), 1), logdet

    def decode(self, h: Tensor, u: Tensor, n: Tensor | None) -> tuple[Tensor, Tensor]:
        h1, h2 = h.chunk(2, 1)
        shift, scale = shift_and_scale(self.fAffine(torch.cat((h1, u), 1)))
        h2, logdet = h2 / scale - shift, -log_sum(scale)
        if self.has_noise:
            shift, scale = shift_and_scale(self.fAffine_std(torch.cat((h1, n), 1)))
            h2, logdet = h2 / scale - shift, logdet - log_sum(scale)
        h = torch.cat((h1, h2), 1)
        shift, scale = shift_and_scale(self.fFeatures(u))
        return h / scale - shift, logdet - log_sum(scale)


class Split(nn.Module):
    """The second half leaves as a latent, scored by a normal density that the first half predicts."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ScaledConv(channels // 2, channels)

    def encode(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h1, h2 = h.chunk(2, 1)
        mean, log_sigma = even_and_odd(self.conv(h1))
        return h1, (h2 - mean) * (-log_sigma).exp(), log_normal(h2, mean, log_sigma)

    def decode(self, h1: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_sigma = even_and_odd(self.conv(h1))
        h2 = mean + latent * log_sigma.exp()
        return torch.cat((h1, h2), 1), -log_normal(h2, mean, log_sigma)


class NormedConv(nn.Conv2d):
    """A convolution without bias, then actnorm."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.actnorm = ActNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.actnorm(super().forward(x))


class ScaledConv(nn.Conv2d):
    """A 3x3 convolution times exp(3 c) per channel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.logs = nn.Parameter(torch.zeros(out_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (3 * self.logs).exp()


def subnet(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    """The network inside every affine map; `out_channels` is twice the channels it acts on."""
    return nn.Sequential(
        NormedConv(in_channels, hidden, 3),
        nn.ReLU(),
        NormedConv(hidden, hidden, 1),
        nn.ReLU(),
        ScaledConv(hidden, out_channels),
    )


def even_and_odd(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[:, 0::2], x[:, 1::2]


def shift_and_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    shift, raw = even_and_odd(x)
    return shift, torch.sigmoid(raw + 2) + 1e-4


def log_sum(scale: Tensor) -> Tensor:
    return scale.log().sum((1, 2, 3))


def log_normal(x: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Log-density of x under N(mean, exp(log_sigma)^2), summed per image: (B,)."""
    density = -0.5 * ((x - mean) ** 2 * (-2 * log_sigma).exp() + 2 * log_sigma + math.log(2 * math.pi))
    return density.sum((1, 2, 3))


def main() -> None:
    """Print this machine's seconds for one 64x64 -> 256x256 sample and one training step on a 160x160 crop."""
    print(machine())
    model = full_x4()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-6)
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, 64, 64, generator=generator)
    hr, lr = torch.rand(1, 3, 160, 160, generator=generator), torch.rand(1, 3, 40, 40, generator=generator)
    noise = 0.03 * torch.randn(1, 3, 160, 160, generator=generator)
    jobs = {
        "one sample, 64x64 -> 256x256": lambda: model.sample(photo, 0.9, generator),
        "one training step, one 160x160 crop": lambda: training_step(model, optimiser, hr, lr, noise, 1e9),
    }
    for name, seconds in compare(jobs, repeats=5).items():
        print(f"{name}: {seconds}")


if __name__ == "__main__":
    main()
