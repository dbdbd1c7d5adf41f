"""Parts of the page Impact assessment: assessments, processing records, breaches and drills."""
