{#- Fails for every row that lacks a value in one of the columns; one scan for all of them. -#}
{% test complete(model, columns) %}

select
    {{ columns | join(",\n    ") }}
from {{ model }}
where {{ columns | join(" is null\n    or ") }} is null

{% endtest %}
