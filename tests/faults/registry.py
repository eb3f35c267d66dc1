"""All faults, in the order of the table."""

from tests.faults import of_captioners, of_data, of_flows, of_models, of_parameters, of_record, of_scoring

GROUPS = {
    "Parameters and pipeline": of_parameters.FAULTS,
    "Prompts, images and captions": of_data.FAULTS + of_captioners.OF_CAPTIONERS,
    "Bases, adapters, training and drawing": of_models.FAULTS,
    "Scores and the report": of_scoring.FAULTS,
    "Flows, sweeps, the record and what is published": of_flows.FAULTS,
    "Git, stores, servers and users in odd states": of_record.FAULTS,
}
FAULTS = [fault for group in GROUPS.values() for fault in group]
