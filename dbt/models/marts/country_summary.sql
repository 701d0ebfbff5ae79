with

countries as (
    select * from {{ ref('stg_pipeline__by_country') }}
),

named as (
    select
        coalesce(country, 'unknown') as country,
        record_count,
        total_value,
        discounted_value
    from countries
),

final as (
    select
        country,
        cast(sum(record_count) as bigint) as record_count,
        cast(sum(total_value) as numeric(28, 2)) as total_value,
        cast(sum(discounted_value) as numeric(28, 2)) as discounted_value
    from named
    group by country
)

select * from final
