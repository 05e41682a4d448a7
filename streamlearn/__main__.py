from streamlearn.commands.cli import main

main()
