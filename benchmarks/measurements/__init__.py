"""Scripts that measure speed and faults, beside other programs too; run as ``python benchmarks/measurements/NAME.py``.

What ``colasearch bench throughput`` and ``bench speed`` print is measured here as well. Nothing else imports from here.
"""
