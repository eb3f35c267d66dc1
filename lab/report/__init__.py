"""The experiment on one page: tables and figures of scored arms, beside the paper's."""
