"""What a person looks at: pictures, plots and pages, made from results."""
