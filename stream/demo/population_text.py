"""The words of the simulated population: what each topic talks about, and how titles are put together.

Invariant: every text is a function of the random source given, so that a seed decides all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Theme:
    """A topic: what is shown (`things`), what is done (`acts`, gerunds), and how people speak of it (`words`)."""

    name: str
    things: tuple[str, ...]
    acts: tuple[str, ...]
    words: tuple[str, ...]


def _theme(name: str, things: str, acts: str, words: str) -> Theme:
    return Theme(name, *(tuple(part.strip() for part in text.split(",")) for text in (things, acts, words)))


THEMES: tuple[Theme, ...] = (
    _theme(
        "cooking",
        "ramen broth, sourdough, cast-iron steak, paella, dumplings, kimchi, tomato sauce, focaccia, curry, omelette",
        "baking, braising, fermenting, roasting, plating, frying",
        "crispy, kitchen, recipe, flavour, dinner, homemade, spices, oven",
    ),
    _theme(
        "climbing",
        "limestone wall, granite crack, bouldering problem, fingerboard, via ferrata, big wall, overhang",
        "climbing, bouldering, belaying, training for, bolting, topping out",
        "grip, chalk, crux, summit, rope, exposure, grade, alpine",
    ),
    _theme(
        "synthesizers",
        "modular rack, drum machine, analog filter, FM bass, tape loop, sequencer, ambient pad, acid line, sampler",
        "patching, sequencing, sampling, mixing, sound-designing, repairing",
        "oscillator, groove, warm, voltage, melody, live set, studio, reverb",
    ),
    _theme(
        "astronomy",
        "Orion nebula, lunar eclipse, Saturn's rings, meteor shower, Andromeda galaxy, radio telescope, comet",
        "photographing, stargazing, tracking, measuring, stacking, discovering",
        "night sky, telescope, light years, orbit, dark site, exposure, cosmos, stars",
    ),
    _theme(
        "gardening",
        "raised bed, tomato seedlings, compost heap, wildflower meadow, orchard, roses, greenhouse, herb spiral",
        "planting, pruning, mulching, grafting, watering, harvesting",
        "soil, harvest, spring, seeds, organic, roots, bloom, pollinators",
    ),
    _theme(
        "woodworking",
        "dovetail box, walnut table, hand plane, oak chair, workbench, lathe bowl, bookshelf, canoe paddle, marquetry",
        "carving, turning, joining, sanding, finishing, restoring",
        "grain, workshop, chisel, joinery, hardwood, oil finish, bench, sawdust",
    ),
    _theme(
        "football",
        "derby, penalty shootout, free kick, counter-attack, cup final, transfer rumour, high press, goalkeeper",
        "analysing, reliving, coaching, scoring, defending, commentating",
        "match, goal, league, tactics, stadium, season, striker, fans",
    ),
    _theme(
        "chess",
        "Sicilian defence, endgame, queen sacrifice, blitz game, knight fork, opening trap, rook lift, zugzwang",
        "analysing, calculating, blundering, winning with, teaching, refuting",
        "grandmaster, rating, board, tournament, checkmate, engine, tempo, strategy",
    ),
    _theme(
        "travel",
        "night train, Lisbon trams, Kyoto temples, Patagonia trail, Sahara camp, Icelandic waterfall, street market",
        "exploring, hitchhiking to, backpacking, crossing, filming, getting lost near",
        "journey, budget, passport, itinerary, local food, border, map, sunrise",
    ),
    _theme(
        "programming",
        "hash map, compiler, web server, garbage collector, regex engine, database index, game loop, type system",
        "writing, debugging, profiling, refactoring, explaining, benchmarking",
        "code, algorithm, bug, open source, memory, latency, terminal, tests",
    ),
    _theme(
        "cats",
        "rescue kitten, tabby, cardboard box, laser pointer, grumpy cat, vet visit, scratching post, midnight zoomies",
        "adopting, feeding, grooming, chasing, befriending, filming",
        "purr, whiskers, fluffy, nap, playful, litter, paws, curious",
    ),
    _theme(
        "history",
        "Roman aqueduct, Viking ship, Silk Road, siege engine, Bronze Age collapse, royal tomb, printing press",
        "excavating, reconstructing, explaining, mapping, debunking, restoring",
        "empire, archive, century, ruins, battle, artefact, dynasty, chronicle",
    ),
    _theme(
        "cycling",
        "gravel bike, mountain pass, time trial, tubeless tyre, cargo bike, bikepacking rig, cobbles, derailleur",
        "riding, repairing, racing, climbing on, upgrading, touring with",
        "watts, cadence, saddle, sprint, headwind, gears, route, descent",
    ),
    _theme(
        "painting",
        "watercolour sky, oil portrait, gouache street, still life, palette knife, charcoal study, mural",
        "painting, sketching, glazing, mixing colours for, framing, copying",
        "brush, pigment, canvas, light, shadow, composition, texture, gallery",
    ),
    _theme(
        "fitness",
        "deadlift, kettlebell flow, mobility routine, marathon plan, pull-up, warm-up, interval run, yoga flow",
        "training, stretching, mastering, programming, recovering from, timing",
        "strength, reps, form, endurance, core, coach, progress, breath",
    ),
    _theme(
        "films",
        "heist scene, science-fiction epic, silent comedy, long take, plot twist, film score, western, director's cut",
        "reviewing, ranking, editing, explaining, restoring, rewatching",
        "cinema, actor, screenplay, camera, ending, trailer, genre, premiere",
    ),
)

TEMPLATES: tuple[str, ...] = (
    "{Act} the perfect {thing}",
    "{Thing} for beginners",
    "{Act} a {thing} in {n} minutes",
    "I tried {act} a {thing} for {n} days",
    "The truth about the {thing}",
    "{n} mistakes with {thing} and {other}",
    "{Thing} or {other}: a {word} comparison",
    "Why every {thing} needs {word}",
    "{Word} {thing}, step by step",
    "{Act} {thing} with nothing but {word}",
)

FORMATS: tuple[str, ...] = ("tutorial", "vlog", "short", "live", "review", "documentary", "interview")

_FIRST = (
    "Ada, Bo, Chika, Dana, Emre, Finn, Gita, Hana, Ivo, Jun, Kai, Lena, Milo, Nora, Omar, Pia, Rui, Sana, Tariq, Uma"
)
_LAST = (
    "Alder, Brook, Castle, Dune, Ember, Fjord, Grove, Hale, Iris, Jade, Kestrel, Lark, Moss, North, Opal, Pike, Reed"
)


def creator_name(random: Random) -> str:
    """A made-up person."""
    return f"{random.choice(_FIRST.split(', '))} {random.choice(_LAST.split(', '))}"


def title_of(random: Random, theme: Theme) -> tuple[str, str]:
    """A title and the thing it is about."""
    thing, other = random.sample(theme.things, 2)
    act, word = random.choice(theme.acts), random.choice(theme.words)
    text = random.choice(TEMPLATES).format(
        thing=thing,
        Thing=_capital(thing),
        other=other,
        act=act,
        Act=_capital(act),
        word=word,
        Word=_capital(word),
        n=random.randint(3, 30),
    )
    return text, thing


def description_of(random: Random, theme: Theme, thing: str, creator: str) -> str:
    """Two sentences in the topic's vocabulary."""
    first, second, third = random.sample(theme.words, 3)
    return f"{creator} shows {thing}: {first}, {second} and {third}. More {theme.name} every week."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
