"""The model: a decoder-only transformer over positions, and a small decoder in depth over the codes of an item.

A position is a bag of at most K tokens (a text token alone; or an item's codes with its facets), embedded as their sum,
so a history of fifty items costs fifty positions and not two hundred. The trunk is causal over positions. The item that
follows a position is written code by code by the depth decoder: it sees the trunk's state, what is asked (task, time
since), and the codes already chosen; the trunk runs once per request whatever the number of beams. Input and output
share the embedding table. (Two-stage decoding in time and depth: Lee et al. 2022, "Autoregressive image generation
using residual quantization"; semantic IDs: Rajput et al. 2023, TIGER.)

Legend of shape suffixes: B rows, T positions, K tokens of a position, N chosen positions, M beams, D width, H heads,
C width of a head, L levels, V codes of a level, W text tokens.

Invariant: under one seed and one number of threads the same calls give the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.item_tower import ItemTower, TowerShape
from trainer.model.vocabulary import Vocabulary

WEIGHTS_FILE = "model.safetensors"
SHAPE_FILE = "model.json"


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that fixes the model's tensors. `widths`: codes per level; `text_begin`/`semantic_begin`: layout."""

    tokens: int
    text_begin: int
    semantic_begin: int
    widths: tuple[int, ...]
    layers: int = 3
    width: int = 128
    heads: int = 4
    dropout: float = 0.1
    tower: TowerShape = field(default_factory=TowerShape)

    @staticmethod
    def of(
        vocabulary: Vocabulary,
        *,
        layers: int,
        width: int,
        heads: int,
        dropout: float = 0.1,
        tower: TowerShape = TowerShape(),
    ) -> Shape:
        return Shape(
            vocabulary.size,
            vocabulary.text_begin,
            vocabulary.semantic_begin,
            vocabulary.widths,
            layers,
            width,
            heads,
            dropout,
            tower,
        )


@dataclass(slots=True)
class Cache:
    """Keys and values of the positions already read, per layer (B H T C)."""

    keys: list[Tensor]
    values: list[Tensor]

    @property
    def length(self) -> int:
        return self.keys[0].shape[2] if self.keys else 0


class _Gated(nn.Module):
    """SwiGLU feed-forward (Shazeer 2020)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * value)
        return out


class _Attention(nn.Module):
    """Causal self-attention with rotary positions (Su et al. 2021)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], cache: Cache | None, layer: int) -> Tensor:
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        q, k = _rotate(q, rotation), _rotate(k, rotation)
        if cache is not None:
            if layer < len(cache.keys):
                k, v = torch.cat([cache.keys[layer], k], 2), torch.cat([cache.values[layer], v], 2)
                cache.keys[layer], cache.values[layer] = k, v
            else:
                cache.keys.append(k)
                cache.values.append(v)
        mask = None if k.shape[2] == T else _causal_after(T, k.shape[2], q.device)
        y_BHTC = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        out: Tensor = self.out(y_BHTC.transpose(1, 2).reshape(B, T, D))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = _Attention(width, heads)
        self.feed_norm = nn.RMSNorm(width)
        self.feed = _Gated(width, width * 8 // 3 // 32 * 32 or width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor], cache: Cache | None, layer: int) -> Tensor:
        x_BTD = x_BTD + self.drop(self.attention(self.attention_norm(x_BTD), rotation, cache, layer))
        out: Tensor = x_BTD + self.drop(self.feed(self.feed_norm(x_BTD)))
        return out


class Decoder(nn.Module):
    """The whole model; see the module's text."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        D = shape.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(shape.tokens, D, padding_idx=0)
            self.blocks = nn.ModuleList(_Block(D, shape.heads, shape.dropout) for _ in range(shape.layers))
            self.norm = nn.RMSNorm(D)
            self.chosen = nn.ModuleList(nn.Linear(D, D, bias=False) for _ in shape.widths)
            self.depth_norm = nn.RMSNorm(D)
            self.depth = _Gated(D, 2 * D)
            self.code_norm = nn.RMSNorm(D)
            self.code_bias = nn.Parameter(torch.zeros(sum(shape.widths)))
            self.prior_gain = nn.Linear(D, len(shape.widths))
            self.drop = nn.Dropout(shape.dropout)
            self._initialise()
            self.tower = ItemTower(shape.tower, D, sum(shape.widths))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.7 / math.sqrt(module.in_features))
        nn.init.normal_(self.embedding.weight, std=self.shape.width**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0.0
            self.code_norm.weight.fill_(0.3)  # what a user adds to the prior starts small
            self.prior_gain.weight.zero_()
            self.prior_gain.bias.fill_(1.0)

    def trunk(self, tokens_BTK: Tensor, cache: Cache | None = None, items_BTD: Tensor | None = None) -> Tensor:
        """States of all positions (B T D). `items_BTD`: what the tower adds where a position holds an item. Rows are
        padded at their end; with a cache, the positions follow it."""
        begin = cache.length if cache is not None else 0
        x_BTD = self.embedding(tokens_BTK).sum(2)
        x_BTD = self.drop(x_BTD if items_BTD is None else x_BTD + items_BTD)
        rotation = _rotation(begin, tokens_BTK.shape[1], self.shape.width // self.shape.heads, x_BTD.device)
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, rotation, cache, layer)
        out: Tensor = self.norm(x_BTD)
        return out

    def ask(self, state_ND: Tensor, ask_NK: Tensor) -> Tensor:
        """The depth decoder's start: a state, and the tokens of what is asked there (task, time since)."""
        out: Tensor = state_ND + self.embedding(ask_NK).sum(1)
        return out

    def code_logits(self, asked_ND: Tensor, chosen_ND: Tensor | None, level: int) -> Tensor:
        """Logits (N V) of the code at `level`; `chosen_ND` is the sum of the embeddings of the codes before it."""
        u_ND = asked_ND + self.chosen[level](chosen_ND if chosen_ND is not None else torch.zeros_like(asked_ND[:1]))
        u_ND = u_ND + self.depth(self.depth_norm(u_ND))
        table_VD, bias_V = self.level_table(level)
        return F.linear(self.code_norm(u_ND), table_VD, bias_V)

    def gains(self, asked_ND: Tensor) -> Tensor:
        """How much the prior counts at each level (N L): see `trainer.model.branch_prior`."""
        out: Tensor = self.prior_gain(self.depth_norm(asked_ND))
        return out

    def level_table(self, level: int) -> tuple[Tensor, Tensor]:
        """Embeddings and output biases of a level's codes."""
        begin = sum(self.shape.widths[:level])
        end = begin + self.shape.widths[level]
        at = self.shape.semantic_begin
        return self.embedding.weight[at + begin : at + end], self.code_bias[begin:end]

    def code_places(self, codes_NL: Tensor) -> Tensor:
        """Rows of the tower's codes (N L) for items' codes."""
        begins = [sum(self.shape.widths[:level]) for level in range(len(self.shape.widths))]
        return codes_NL + torch.tensor(begins, device=codes_NL.device)

    def text_logits(self, state_ND: Tensor) -> Tensor:
        """Logits (N W+1) of the next text token; the last column is the end of the text."""
        weight = self.embedding.weight
        table_WD = torch.cat([weight[self.shape.text_begin : self.shape.semantic_begin], weight[2:3]])
        return F.linear(state_ND, table_WD)

    def code_scores(self, asked_ND: Tensor, codes_NL: Tensor, prior_LNV: Sequence[Tensor]) -> list[Tensor]:
        """Logits (N V) of the codes at each level along each item's own codes; those below 0 are unknown. `prior_LNV`:
        the prior's logits, one tensor for each level."""
        found: list[Tensor] = []
        gain_NL = self.gains(asked_ND)
        chosen_ND: Tensor | None = None
        for level, prior_NV in enumerate(prior_LNV):
            found.append(self.code_logits(asked_ND, chosen_ND, level) + gain_NL[:, level, None] * prior_NV)
            embedded_ND = F.embedding(codes_NL[:, level].clamp(min=0), self.level_table(level)[0])
            chosen_ND = embedded_ND if chosen_ND is None else chosen_ND + embedded_ND
        return found

    def text_loss(self, state_ND: Tensor, target_N: Tensor) -> Tensor:
        """Negative log-likelihood of each next text token (N); targets are columns of `text_logits`."""
        return F.cross_entropy(self.text_logits(state_ND), target_N, reduction="none")

    def save(self, folder: Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / WEIGHTS_FILE)
        (folder / SHAPE_FILE).write_bytes(msgspec.json.encode(asdict(self.shape)))

    @staticmethod
    def load(folder: Path) -> Decoder:
        """The model of a checkpoint folder, in evaluation mode. Hashes are `store.checkpoints.verify`'s business."""
        model = Decoder(msgspec.json.decode((folder / SHAPE_FILE).read_bytes(), type=Shape))
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return model.eval()


def _rotation(begin: int, length: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T C/2) of the rotary angles."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angles = torch.arange(begin, begin + length, dtype=torch.float32, device=device)[:, None] * rates
    return angles.cos(), angles.sin()


def _rotate(x_BHTC: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotation
    a, b = x_BHTC.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _causal_after(new: int, total: int, device: torch.device) -> Tensor:
    """Which of `total` positions each of the last `new` may see."""
    return torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)
