"""Compares the regions in which the template refuses a budget with the resource types that cfn-lint knows
of each region."""

import sys

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from template import source

rules = source()["Rules"]
supported = rules["SupportedRegion"]["Assertions"][0]["Assert"]["Fn::Contains"][0]
refused = rules["BudgetInTheRegion"]["Assertions"][0]["Assert"]["Fn::Not"][0]["Fn::Contains"][0]
without = [
    region
    for region in supported
    if "AWS::Budgets::Budget" not in PROVIDER_SCHEMA_MANAGER.get_resource_types(region)
]
if refused != without:
    sys.exit(f"template.yaml: BudgetInTheRegion lists {refused}; budgets are missing in {without}")
print(f"budgets: {len(without)} of {len(supported)} regions do not have them")
