"""One page that shows the data: a run or a study as a self-contained HTML file."""

from dataprune.report.page.render import Options
from dataprune.report.page.write import Written, write_report
