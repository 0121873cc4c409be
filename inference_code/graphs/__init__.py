"""What the models of the detectors become in a graph: one module a detector, of the name of the detector's folder.

A graph holds the same numbers without the loops, caches and choices at run time that no graph can hold. Each module has
a function ``to_graph(model, image_size)`` that returns the module to be exported; it may take parts of the model over.
"""
