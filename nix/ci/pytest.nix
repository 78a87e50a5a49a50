# The command that runs tests below `paths`. Its jobs share the machine, whose load makes deadlines short: what fails is
# tried once more alone, and fails for good if it fails again.
{ options ? "", paths }: ''
  pytest -q ${options} ${paths} || {
    echo "once more, alone:"
    pytest -q --last-failed --last-failed-no-failures none ${paths}
  }
''
