# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mirrord_global_optspecs
    string join \n h/help V/version
end

function __fish_mirrord_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mirrord_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mirrord_using_subcommand
    set -l cmd (__fish_mirrord_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mirrord -n "__fish_mirrord_needs_command" -s h -l help -d 'Print help'
complete -c mirrord -n "__fish_mirrord_needs_command" -s V -l version -d 'Print version'
complete -c mirrord -n "__fish_mirrord_needs_command" -f -a "preview" -d 'Start, look at and stop preview environments'
complete -c mirrord -n "__fish_mirrord_needs_command" -f -a "completions" -d 'Print the completion script for a shell'
complete -c mirrord -n "__fish_mirrord_needs_command" -f -a "man" -d 'Print the manual page'
complete -c mirrord -n "__fish_mirrord_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -s k -l key -d 'The environment\'s key' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -s f -l config-file -d 'Read mirrord.json; `-` reads standard input' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -l context -d 'The kubeconfig\'s context' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -l kubeconfig -d 'The kubeconfig to use' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -f -a "start" -d 'Start an environment, or replace the one with the same key and target'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -f -a "status" -d 'Show environments'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -f -a "stop" -d 'Stop environments and wait until they are gone'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -f -a "extend" -d 'Change the remaining lifetime of running environments'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -f -a "doctor" -d 'Check whether `start` would succeed, without creating anything'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -f -a "rbac" -d 'Print the roles that an admin can apply once, for users who may not create roles'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and not __fish_seen_subcommand_from start status stop extend doctor rbac help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -s i -l image -d 'The image to run in place of the target\'s' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -s t -l target -d 'The live workload to copy, as in `deployment/shop` or `deployment/shop/container/web`' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -s n -l namespace -l target-namespace -d 'The target\'s namespace' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -l ttl -d 'How long it lives once it is ready: minutes, a duration like `90s` or `2h`, or `infinite` [default: 60]' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -l timeout -d 'How long to wait until it is ready: seconds, or a duration like `5m` [default: 60]' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -s o -l output -d 'Print the objects' -r -f -a "yaml\t''
json\t''
name\t''"
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -s k -l key -d 'The environment\'s key' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -s f -l config-file -d 'Read mirrord.json; `-` reads standard input' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -l context -d 'The kubeconfig\'s context' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -l kubeconfig -d 'The kubeconfig to use' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -l no-wait -d 'Do not wait until it is ready; the time to live starts now'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -l dry-run -d 'Create nothing; with `-o`, print what would be created'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -l force -d 'Accepted without effect: an environment is always replaced'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -l glob -d 'Select the environments whose key matches; `*` also crosses `/`' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s t -l target -d 'Select environments on this target only' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s n -l namespace -l target-namespace -d 'Look in this namespace only' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s o -l output -d 'The output format' -r -f -a "table\t''
wide\t''
json\t''
yaml\t''
name\t''"
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s k -l key -d 'The environment\'s key' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s f -l config-file -d 'Read mirrord.json; `-` reads standard input' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -l context -d 'The kubeconfig\'s context' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -l kubeconfig -d 'The kubeconfig to use' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s A -l all-namespaces -d 'Look in every namespace'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -l failed -d 'Show starts that failed because of the preview pod; each is kept for 15 minutes'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s w -l watch -d 'Print again after each change, until interrupted'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -l glob -d 'Select the environments whose key matches; `*` also crosses `/`' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -s t -l target -d 'Select environments on this target only' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -s n -l namespace -l target-namespace -d 'Look in this namespace only' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -s k -l key -d 'The environment\'s key' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -s f -l config-file -d 'Read mirrord.json; `-` reads standard input' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -l context -d 'The kubeconfig\'s context' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -l kubeconfig -d 'The kubeconfig to use' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -s A -l all-namespaces -d 'Look in every namespace'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -l ignore-not-found -d 'Succeed if there is nothing to stop'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -l no-wait -d 'Do not wait until everything is gone'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -l glob -d 'Select the environments whose key matches; `*` also crosses `/`' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -s t -l target -d 'Select environments on this target only' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -s n -l namespace -l target-namespace -d 'Look in this namespace only' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -l ttl -d 'How long they live from now: minutes, a duration like `90s` or `2h`, or `infinite`' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -s k -l key -d 'The environment\'s key' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -s f -l config-file -d 'Read mirrord.json; `-` reads standard input' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -l context -d 'The kubeconfig\'s context' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -l kubeconfig -d 'The kubeconfig to use' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -s A -l all-namespaces -d 'Look in every namespace'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from extend" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from doctor" -s t -l target -d 'The live workload to copy, as in `deployment/shop`' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from doctor" -s n -l namespace -l target-namespace -d 'The target\'s namespace' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from doctor" -s k -l key -d 'The environment\'s key' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from doctor" -s f -l config-file -d 'Read mirrord.json; `-` reads standard input' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from doctor" -l context -d 'The kubeconfig\'s context' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from doctor" -l kubeconfig -d 'The kubeconfig to use' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -s n -l namespace -l target-namespace -d 'The namespace of the targets; else the context\'s' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -l user -d 'Bind the users\' Role to this user' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -l group -d 'Bind it to this group of users' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -l service-account -d 'Bind it to this ServiceAccount, as in `ci` or `runners/ci`' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -s k -l key -d 'The environment\'s key' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -s f -l config-file -d 'Read mirrord.json; `-` reads standard input' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -l context -d 'The kubeconfig\'s context' -r
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -l kubeconfig -d 'The kubeconfig to use' -r -F
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from rbac" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from help" -f -a "start" -d 'Start an environment, or replace the one with the same key and target'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show environments'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from help" -f -a "stop" -d 'Stop environments and wait until they are gone'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from help" -f -a "extend" -d 'Change the remaining lifetime of running environments'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from help" -f -a "doctor" -d 'Check whether `start` would succeed, without creating anything'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from help" -f -a "rbac" -d 'Print the roles that an admin can apply once, for users who may not create roles'
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mirrord -n "__fish_mirrord_using_subcommand completions" -s h -l help -d 'Print help'
complete -c mirrord -n "__fish_mirrord_using_subcommand man" -s h -l help -d 'Print help'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and not __fish_seen_subcommand_from preview completions man help" -f -a "preview" -d 'Start, look at and stop preview environments'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and not __fish_seen_subcommand_from preview completions man help" -f -a "completions" -d 'Print the completion script for a shell'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and not __fish_seen_subcommand_from preview completions man help" -f -a "man" -d 'Print the manual page'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and not __fish_seen_subcommand_from preview completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and __fish_seen_subcommand_from preview" -f -a "start" -d 'Start an environment, or replace the one with the same key and target'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and __fish_seen_subcommand_from preview" -f -a "status" -d 'Show environments'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and __fish_seen_subcommand_from preview" -f -a "stop" -d 'Stop environments and wait until they are gone'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and __fish_seen_subcommand_from preview" -f -a "extend" -d 'Change the remaining lifetime of running environments'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and __fish_seen_subcommand_from preview" -f -a "doctor" -d 'Check whether `start` would succeed, without creating anything'
complete -c mirrord -n "__fish_mirrord_using_subcommand help; and __fish_seen_subcommand_from preview" -f -a "rbac" -d 'Print the roles that an admin can apply once, for users who may not create roles'

# Asks the cluster for keys, namespaces and targets.
function __fish_mirrord_live
    set -l typed (commandline -opc)
    command mirrord candidates $argv[1] -- $typed[2..-1] </dev/null 2>/dev/null
end
complete -c mirrord -n "__fish_mirrord_using_subcommand preview" -s k -l key -x -a "(__fish_mirrord_live key)"
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start status stop extend doctor rbac" -s n -l namespace -l target-namespace -x -a "(__fish_mirrord_live namespace)"
complete -c mirrord -n "__fish_mirrord_using_subcommand preview; and __fish_seen_subcommand_from start status stop extend doctor" -s t -l target -x -a "(__fish_mirrord_live target)"
