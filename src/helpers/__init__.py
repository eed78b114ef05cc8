"""What the notebooks share: data flows seed curation → expansion → active learning → evaluation."""
