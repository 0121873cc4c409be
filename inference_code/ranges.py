"""The ranges of numbers that people and programs may ask for; both ends are valid."""

#: Images that a detector gets at once; all of them are in memory.
BATCH_SIZES = (1, 1024)
#: Pixels by which regions grow.
DILATIONS = (0, 255)
#: Pixels below which a region is passed over.
AREAS = (0, 2**31)
#: Seconds that something may be waited for.
WAITS = (0, 86400)
