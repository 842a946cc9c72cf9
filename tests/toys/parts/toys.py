"""What toys have `quarterdeck up` run: a shelf, while there is a toy that ticks."""

from workers.family_parts import FamilyPart, FamilyParts, WhileRows

TICKING = WhileRows("SELECT EXISTS (SELECT FROM read_schedules() WHERE kind = 'toy.tick' AND state <> 'removing')")
STANDS = ("/bin/sh", "-c", 'touch "$QUARTERDECK_READY_FILE"; while sleep 3600; do :; done')

FAMILY = FamilyParts((FamilyPart(name="toy-shelf", when=TICKING, command=STANDS),))
