"""What toys say."""

from models.domain.words import Phrase, Wait, Who, Words

MADE = Wait(Phrase("its maker", "son fabricant"), Who.OWNER)
BROKEN = Wait(Phrase("its end", "sa fin"), Who.OWNER)
STUCK = Phrase("the toy is stuck", "le jouet est bloqué")
MAY_BREAK = Phrase("is the toy to be broken?", "faut-il casser le jouet ?")

FAMILY = Words(
    waits={"TOY_MADE": MADE, "TOY_BROKEN": BROKEN}, questions={"BREAK_TOY": MAY_BREAK}, holds={"TOY_STUCK": STUCK}
)
