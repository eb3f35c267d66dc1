"""All faults, in the order of the table."""

from tests.faults import data, flows, models, parameters, scoring

GROUPS = {
    "Parameters and pipeline": parameters.FAULTS,
    "Prompts, images and captions": data.FAULTS,
    "Bases, adapters, training and drawing": models.FAULTS,
    "Scores and the report": scoring.FAULTS,
    "Flows, sweeps, the record and what is published": flows.FAULTS,
}
FAULTS = [fault for group in GROUPS.values() for fault in group]
